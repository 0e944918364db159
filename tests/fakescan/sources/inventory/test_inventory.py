"""S3 Inventory as a source: the rows of a listing, with what the bucket holds besides left out and counted."""

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.sources.index import build_index
from fakescan.sources.manifest import ManifestReader
from fakescan.sources.reading import LeftOutReason
from fakescan.sources.source import new_since, open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.sources.conftest import JPEG, Place, rows_of
from tests.fakescan.sources.inventory.reports import CREATED, DATE, Report

pytestmark = pytest.mark.unit

FORMATS = ["CSV", "Parquet", "ORC"]
ODD = [
    "a b+c.jpg",
    "100%.jpg",
    "ü/日本🎈.jpg",
    'quote".jpg',
    "line\nbreak.jpg",
    "per%2Fcent.jpg",
    "com,ma;.jpg",
    "'&<>.jpg",
]


def row(key: str, **cells: Any) -> dict[str, Any]:
    return {"Key": key, "Size": 10, "ETag": "0" * 32, "StorageClass": "STANDARD", **cells}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "inv"), Store())


@pytest.fixture
def s3_place(s3_bucket: Bucket) -> Place:
    return Place(f"{s3_bucket.url}/reports", s3_bucket.store)


def keys(url: str, store: Store | None = None, **options: Any) -> list[str]:
    return [uri.removeprefix("s3://photos/") for uri in rows_of(open_source(url, store or Store(), **options))]


@pytest.mark.parametrize("kind", FORMATS)
class TestFormats:
    def test_every_name_is_what_the_bucket_calls_it(self, kind: str, place: Place) -> None:
        url = Report([row(key) for key in ODD], kind).put(place)
        assert keys(url) == ODD

    def test_sizes_and_tags_are_the_stores(self, kind: str, place: Place) -> None:
        tagged = row("b.jpg", Size=0, ETag="d41d8cd98f00b204e9800998ecf8427e-12")
        url = Report([row("a.jpg", Size=5_000_000_000), tagged, row("c.jpg", Size=None, ETag=None)], kind).put(place)
        table = pa.concat_tables(open_source(url, Store()))
        assert table["size"].to_pylist() == [5_000_000_000, 0, None]
        assert table["etag"].to_pylist() == ["0" * 32, "d41d8cd98f00b204e9800998ecf8427e-12", None]

    def test_what_is_no_object_that_can_be_read_is_counted(self, kind: str, place: Place) -> None:
        rows = [
            row("a.jpg", IsLatest=True, IsDeleteMarker=False, VersionId="3"),
            row("a.jpg", IsLatest=False, IsDeleteMarker=False, VersionId="2"),
            row("gone.jpg", IsLatest=True, IsDeleteMarker=True, Size=None),
            row("cold.jpg", StorageClass="GLACIER"),
            row("colder.jpg", StorageClass="DEEP_ARCHIVE"),
            row("cool.jpg", StorageClass="GLACIER_IR"),
            row("tier.jpg", StorageClass="INTELLIGENT_TIERING", IntelligentTieringAccessTier="ARCHIVE_ACCESS"),
            row("other.jpg", Bucket="elsewhere"),
            row("folder/", Size=0),
            row("notes.txt"),
        ]
        source = open_source(Report(rows, kind).put(place), Store())
        assert rows_of(source) == ["s3://photos/a.jpg", "s3://photos/cool.jpg"]
        assert source.left_out.counts == {
            LeftOutReason.EARLIER_VERSION: 2,
            LeftOutReason.ARCHIVED: 3,
            LeftOutReason.OTHER_BUCKET: 1,
            LeftOutReason.EXTENSION: 1,
        }

    def test_the_choice_of_names_is_that_of_a_listing(self, kind: str, place: Place) -> None:
        names = ["2025/a.jpg", "2026/a.jpg", "2026/thumbs/a.jpg", "2026/b.png", "2026/c.txt"]
        url = Report([row(key) for key in names], kind).put(place)
        assert keys(url, glob=["2026/**"], extensions=("jpg",)) == ["2026/a.jpg", "2026/thumbs/a.jpg"]
        assert keys(url, exclude=["2026/thumbs/**"]) == ["2025/a.jpg", "2026/a.jpg", "2026/b.png"]

    def test_many_files_in_their_order(self, kind: str, place: Place, tmp_path: Path) -> None:
        names = [f"{number:05}.jpg" for number in range(5_000)]
        url = Report([row(key) for key in names], kind, files=9).put(place)
        assert keys(url) == names
        once = build_index(url, str(tmp_path / "m1"))
        assert once.fingerprint == build_index(url, str(tmp_path / "m2")).fingerprint
        assert once.listed_at == CREATED

    def test_a_file_that_was_changed_is_refused(self, kind: str, place: Place) -> None:
        url = Report([row("a.jpg")], kind).put(place)
        [file] = (Path(place.url) / "photos/daily/data").iterdir()
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        with pytest.raises(UserError, match=rf"{file.name} .*(MD5|damaged|cannot be read)"):
            keys(url)


class TestPlaces:
    @pytest.mark.parametrize("ending", ["", f"/{DATE}", f"/{DATE}/", f"/{DATE}/manifest.json"])
    def test_manifest_date_and_configuration(self, ending: str, s3_place: Place) -> None:
        bucket = s3_place.url.split("/")[2]
        report = Report([row("a.jpg")], destination=bucket)
        report.put(s3_place)
        Report([row("old.jpg")], destination=bucket).put(s3_place, "photos/daily", "2026-11-24T00-00Z")
        report.put(s3_place)
        s3_place.put("photos/daily/2026-11-26T00-00Z/manifest.checksum", b"is still being written")
        source = open_source(f"{s3_place.url}/photos/daily{ending}", s3_place.store)
        assert rows_of(source) == ["s3://photos/a.jpg"]
        assert "inventory of 2026-11-25 00:00 UTC of s3://photos" in " ".join(source.notes)
        assert ("newest complete one is 2026-11-25" in " ".join(source.notes)) == (not ending)

    def test_a_copy_of_the_manifest_alone(self, s3_place: Place, tmp_path: Path) -> None:
        bucket = s3_place.url.split("/")[2]
        report = Report([row("a.jpg")], destination=bucket)
        report.put(s3_place)
        copy = tmp_path / "inventory.json"
        copy.write_text(json.dumps(report.manifest("reports/photos/daily")))
        source = open_source(str(copy), s3_place.store)
        assert rows_of(source) == ["s3://photos/a.jpg"]
        assert f"s3://{bucket}" in " ".join(source.notes)

    def test_files_beside_the_manifest(self, place: Place, tmp_path: Path) -> None:
        url = Report([row("a.jpg")]).put(place)
        shutil.copytree(Path(url).parent, tmp_path / "flat")
        shutil.copytree(Path(place.url) / "photos/daily/data", tmp_path / "flat", dirs_exist_ok=True)
        assert keys(str(tmp_path / "flat")) == ["a.jpg"]

    def test_a_folder_of_dates_that_is_no_inventory(self, tmp_path: Path) -> None:
        Place(str(tmp_path), Store()).put(f"{DATE}/a.jpg", JPEG)
        assert rows_of(open_source(str(tmp_path), Store())) == [f"{tmp_path}/{DATE}/a.jpg"]

    def test_no_date_is_complete(self, place: Place) -> None:
        url = Report([row("a.jpg")]).put(place)
        Path(url).unlink()
        with pytest.raises(UserError, match="no complete inventory"):
            keys(f"{place.url}/photos/daily")

    def test_outside_the_allowed_prefixes(self, tmp_path: Path) -> None:
        copy = tmp_path / "manifest.json"
        copy.write_text(json.dumps(Report([row("a.jpg")]).manifest("photos/daily")))
        with pytest.raises(UserError, match="below no allowed prefix"):
            open_source(str(copy), Store(), allowed_prefixes=(str(tmp_path), "s3://photos"))


class TestDamage:
    def change(self, url: str, **fields: Any) -> str:
        """The manifest with other fields, without the sum that it would not have."""
        path = Path(url)
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        (path.parent / "manifest.checksum").unlink()
        return url

    def test_the_manifest_is_not_the_one_of_its_sum(self, place: Place) -> None:
        url = Report([row("a.jpg")]).put(place)
        Path(url).write_text(Path(url).read_text() + " ")
        with pytest.raises(UserError, match=r"manifest\.checksum"):
            keys(url)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"fileFormat": "Avro"}, "fileFormat"),
            ({"fileSchema": "Bucket, Size"}, "fileSchema"),
            ({"files": [{"size": 3}]}, "files.0.key"),
            ({"files": "none"}, "files"),
            ({"sourceBucket": "../../etc"}, "no bucket"),
            ({"destinationBucket": "arn:aws:s3:::"}, "no bucket"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_a_manifest_that_cannot_be_used(self, place: Place, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(UserError, match=re.escape(words)):
            keys(self.change(Report([row("a.jpg")]).put(place), **fields))

    def test_a_file_is_missing(self, place: Place) -> None:
        url = Report([row(f"{number}.jpg") for number in range(4)], files=2).put(place)
        (Path(place.url) / "photos/daily/data/00000001.csv.gz").unlink()
        with pytest.raises(UserError, match=r"00000001\.csv\.gz does not exist"):
            keys(url)
        assert keys(url, skip_damaged=True) == ["0.jpg", "1.jpg"]

    def test_a_file_breaks_off(self, place: Place) -> None:
        url = Report([row(f"{number}.jpg") for number in range(2_000)]).put(place)
        file = Path(place.url) / "photos/daily/data/00000000.csv.gz"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(UserError, match="bytes"):
            keys(url)
        self.change(url, files=[{"key": f"photos/daily/data/{file.name}"}])
        with pytest.raises(UserError, match="broken off"):
            keys(url)

    def test_rows_with_other_cells_are_counted(self, place: Place) -> None:
        url = Report([row("a.jpg")]).put(place)
        file = Path(place.url) / "photos/daily/data/00000000.csv.gz"
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + b'"photos","b.jpg"\n'))
        self.change(url, files=[{"key": f"photos/daily/data/{file.name}"}])
        source = open_source(url, Store())
        assert rows_of(source) == ["s3://photos/a.jpg"]
        assert source.left_out.counts == {LeftOutReason.CELLS: 1}

    def test_names_that_cannot_be_one(self, place: Place) -> None:
        url = Report([row("a.jpg"), row("x")]).put(place)
        file = Path(place.url) / "photos/daily/data/00000000.csv.gz"
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"x"', b'"%FF.jpg"')))
        self.change(url, files=[{"key": f"photos/daily/data/{file.name}"}])
        source = open_source(url, Store())
        assert rows_of(source) == ["s3://photos/a.jpg"]
        assert source.left_out.counts == {LeftOutReason.BAD_ADDRESS: 1}

    def test_nothing_in_it(self, place: Place) -> None:
        with pytest.raises(UserError, match="no images found"):
            keys(Report([]).put(place))

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({"report_config": {}, "report_shards_file_names": []}, "Storage Insights"),
            ({"destinationContainer": "c", "inventoryCompletionTime": "t", "files": []}, "blob inventory"),
        ],
    )
    def test_other_clouds(self, tmp_path: Path, document: dict[str, Any], words: str) -> None:
        (tmp_path / "manifest.json").write_text(json.dumps(document))
        for source in (str(tmp_path), str(tmp_path / "manifest.json")):
            with pytest.raises(UserError, match=words):
                open_source(source, Store())


def test_what_is_new_since_an_earlier_inventory(place: Place, tmp_path: Path) -> None:
    build_index(Report([row("a.jpg"), row("b.jpg")]).put(place), str(tmp_path / "m"))
    later = Report([row("a.jpg"), row("b.jpg", ETag="1" * 32), row("c.jpg")], files=1).put(place, "photos/later")
    fresh = new_since(iter(open_source(later, Store())), ManifestReader(str(tmp_path / "m"), Store()))
    assert pa.concat_tables(fresh)["uri"].to_pylist() == ["s3://photos/b.jpg", "s3://photos/c.jpg"]


def test_a_name_that_comes_twice_is_one_row(place: Place, tmp_path: Path) -> None:
    info = build_index(Report([row("a.jpg"), row("b.jpg"), row("a.jpg")], files=2).put(place), str(tmp_path / "m"))
    assert (info.rows, info.duplicates) == (2, 1)


def test_the_objects_are_fetched_as_they_were_listed(s3_bucket: Bucket) -> None:
    from fakescan.sources.fetch import Fetcher
    from fakescan.sources.manifest import conform

    s3_bucket.put("in/a b.jpg", JPEG)
    tag = s3_bucket.call("head_object", Key="in/a b.jpg")["ETag"].strip('"')
    rows = [row("in/a b.jpg", Size=len(JPEG), ETag=tag), row("in/a b.jpg", Size=len(JPEG), ETag="0" * 32)]
    place = Place(f"{s3_bucket.url}/reports", s3_bucket.store)
    url = Report(rows, bucket=s3_bucket.name, destination=s3_bucket.name).put(place)
    table = pa.concat_tables(open_source(url, s3_bucket.store))
    fetched = Fetcher(s3_bucket.store).fetch(conform(table))
    assert [one.error_code for one in fetched] == [None, "changed"]
