"""Sources: everything that holds images becomes the same stream of entries, each image once."""

import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.filters.name_filter import expand_braces, split_pattern
from fakescan.sources.listers import ordered_listing, s3_lister
from fakescan.sources.manifest import ENTRY_SCHEMA, ManifestReader, conform, write_manifest
from fakescan.sources.source import Source, new_since, open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket, new_bucket
from tests.storage_server import SeaweedServer

pytestmark = pytest.mark.unit


def read(source: str, store: Store | None = None, **options: Any) -> tuple[Source, pa.Table]:
    found = open_source(source, store or Store(), **options)
    table = pa.concat_tables(found)
    assert table.schema == ENTRY_SCHEMA
    return found, table


def names(source: str, store: Store | None = None, **options: Any) -> list[str]:
    """The URIs of a source, without what the source's folder is called."""
    _, table = read(source, store, **options)
    return [str(uri).removeprefix(source.rstrip("/")).lstrip("/") for uri in table["uri"].to_pylist()]


def fill(place: Bucket | Path, *paths: str) -> None:
    for path in paths:
        if isinstance(place, Bucket):
            place.put(path, path.encode())
        else:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(path.encode())


@pytest.fixture(params=["file", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Store]:
    """A place in each kind of store; `put` fills it."""
    if request.param == "s3":
        bucket = request.getfixturevalue("s3_bucket")
        return bucket.url, bucket.store
    return (str(tmp_path) if request.param == "file" else f"memory://{tmp_path.name}"), Store()


def write_files(place: tuple[str, Store], *paths: str) -> None:
    fs, root = place[1].filesystem(place[0])
    for path in paths:
        if not root.count("/") and place[0].startswith("s3"):
            fs.call_s3("put_object", Bucket=root, Key=path, Body=path.encode())
        else:
            fs.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
            fs.pipe_file(f"{root}/{path}", path.encode())


class TestListing:
    def test_images_below_a_folder(self, place: tuple[str, Store]) -> None:
        url, store = place
        write_files(
            place, "in/b.png", "in/a.JPG", "in/z/deep/er/c.webp", "in/note.txt", "in/none", "in.jpg", "in2/x.jpg"
        )
        for written in (f"{url}/in", f"{url}/in/"):
            source, table = read(written, store)
            assert sorted(table["uri"].to_pylist()) == sorted(
                f"{url}/in/{n}" for n in ("a.JPG", "b.png", "z/deep/er/c.webp")
            )
            assert sorted(table["size"].to_pylist()) == sorted(
                len(f"in/{n}") for n in ("a.JPG", "b.png", "z/deep/er/c.webp")
            )
            assert (source.kind, source.unique, dict(source.left_out.by_extension)) == (
                "objects",
                True,
                {".txt": 1, "": 1},
            )

    def test_one_image_whatever_its_name(self, place: tuple[str, Store]) -> None:
        url, store = place
        write_files(place, "in/image", "in/image2.jpg")
        assert names(f"{url}/in/image", store) == [""]

    def test_nothing_there(self, place: tuple[str, Store]) -> None:
        url, store = place
        write_files(place, "in/a.txt", "in/b.txt", "in/c.json")
        with pytest.raises(UserError, match=r"no images found under .*/in \(3 objects .* 2 x \.txt, 1 x \.json"):
            read(f"{url}/in", store)

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ({"extensions": ("png",)}, {"b.png", "x/d.png"}),
            ({"extensions": (".PNG", "txt")}, {"b.png", "c.txt", "x/d.png"}),
            ({"extensions": ("",)}, {"x/none"}),
            ({"extensions": ("*",)}, {"a.jpg", "b.png", "c.txt", "x/d.png", "x/y/e.jpg", "x/none"}),
            ({"glob": ["*.jpg"]}, {"a.jpg", "x/y/e.jpg"}),
            ({"glob": ["x/*"]}, {"x/d.png", "x/none"}),
            ({"glob": ["x/**"]}, {"x/d.png", "x/none", "x/y/e.jpg"}),
            ({"glob": ["**/e.jpg", "[ab].*"]}, {"a.jpg", "b.png", "x/y/e.jpg"}),
            ({"glob": ["x/**"], "extensions": ("jpg",)}, {"x/y/e.jpg"}),
            ({"glob": ["?.txt"]}, {"c.txt"}),
        ],
    )
    def test_globs_and_extensions(self, place: tuple[str, Store], options: dict[str, Any], found: set[str]) -> None:
        url, store = place
        write_files(place, "in/a.jpg", "in/b.png", "in/c.txt", "in/x/d.png", "in/x/y/e.jpg", "in/x/none")
        assert set(names(f"{url}/in", store, **options)) == found

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("in/*.jpg", {"in/a.jpg"}),
            ("in/**/*.jpg", {"in/a.jpg", "in/x/y/e.jpg"}),
            ("in*/?.jpg", {"in/a.jpg", "in2/a.jpg"}),
            ("in/[!a]*", {"in/b"}),
            ("in/{a,b}*", {"in/a.jpg", "in/b"}),
            ("{in,in2}/a.jpg", {"in/a.jpg", "in2/a.jpg"}),
        ],
    )
    def test_patterns_in_the_source(self, place: tuple[str, Store], pattern: str, found: set[str]) -> None:
        url, store = place
        write_files(place, "in/a.jpg", "in/b", "in/x/y/e.jpg", "in2/a.jpg")
        _, table = read(f"{url}/{pattern}", store)
        assert {uri.removeprefix(f"{url}/") for uri in table["uri"].to_pylist()} == found

    def test_name_that_merely_looks_like_a_pattern(self, place: tuple[str, Store]) -> None:
        url, store = place
        write_files(place, "in [1]/a.jpg", "in 1/b.jpg")
        assert names(f"{url}/in [1]", store) == ["a.jpg"]


@pytest.fixture(scope="module")
def big_bucket(s3: SeaweedServer) -> tuple[Bucket, list[str]]:
    """A bucket and the sorted URIs in it."""
    bucket = new_bucket(s3)
    keys = [f"in/deep/{number:04}.jpg" for number in range(1_050)]
    keys += [f"in/wide/{number:04}/a.jpg" for number in range(1_010)]
    keys += [f"in/{letter}/{number}/{name}.jpg" for letter in "abc" for number in range(5) for name in "xy"]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: bucket.put(key, b"x"), keys))
    return bucket, sorted(f"{bucket.url}/{key}" for key in keys)


class TestS3Listing:
    def test_odd_keys_markers_and_etags(self, s3_bucket: Bucket) -> None:
        keys = ["in/a b+c#d?e%20.jpg", "in/ü🎈.jpg", "in/&<>'\".jpg"]
        fill(s3_bucket, *keys, "in/marker/")
        _, table = read(f"{s3_bucket.url}/in", s3_bucket.store)
        assert set(table["uri"].to_pylist()) == {f"{s3_bucket.url}/{key}" for key in keys}
        assert all(etag and '"' not in etag for etag in table["etag"].to_pylist())

    def test_whole_bucket(self, s3_bucket: Bucket) -> None:
        fill(s3_bucket, "a.jpg", "x/b.jpg")
        assert set(names(s3_bucket.url, s3_bucket.store)) == {"a.jpg", "x/b.jpg"}
        assert set(names(f"{s3_bucket.url}/", s3_bucket.store)) == {"a.jpg", "x/b.jpg"}

    @pytest.mark.parametrize("memory", [0, 2**27])
    @pytest.mark.parametrize("few_folders", [20, 2_000])
    def test_many_prefixes_and_pages(
        self, big_bucket: tuple[Bucket, list[str]], monkeypatch: pytest.MonkeyPatch, memory: int, few_folders: int
    ) -> None:
        """Over a page of keys in one folder, over a page of folders in another, few of both in a third: each once."""
        monkeypatch.setattr(ordered_listing, "MAX_BYTES", memory)
        monkeypatch.setattr(s3_lister, "_FEW_FOLDERS", few_folders)
        bucket, uris = big_bucket
        _, table = read(f"{bucket.url}/in", bucket.store)
        assert table["uri"].to_pylist() == uris

    def test_iteration_may_stop_early(self, s3_bucket: Bucket) -> None:
        fill(s3_bucket, *(f"in/{letter}/{number}.jpg" for letter in "abcdef" for number in range(3)))
        assert next(iter(open_source(f"{s3_bucket.url}/in", s3_bucket.store))).num_rows

    def test_failures_are_one_line(self, s3: SeaweedServer, s3_bucket: Bucket) -> None:
        with pytest.raises(UserError, match="no such bucket: nowhere"):
            open_source("s3://nowhere/x", s3.store)
        with pytest.raises(UserError, match="no such bucket: nowhere"):
            read("s3://nowhere/*.jpg", s3.store)
        bad = Store.model_validate({"endpoint_url": s3.endpoint_url, "options": {"key": "no", "secret": "no"}})
        for source in (s3_bucket.url, f"{s3_bucket.url}/*.jpg", f"{s3_bucket.url}/a.parquet", f"{s3_bucket.url}/a.csv"):
            with pytest.raises(UserError, match=r"credentials|denied|InvalidAccessKeyId"):
                read(source, bad)


class TestLocalListing:
    def test_links(self, tmp_path: Path) -> None:
        fill(tmp_path, "in/a.jpg", "elsewhere/b.jpg", "one.jpg")
        (tmp_path / "in/loop").symlink_to(tmp_path / "in")
        (tmp_path / "in/other").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "in/other2").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "in/one.jpg").symlink_to(tmp_path / "one.jpg")
        (tmp_path / "in/dangling.jpg").symlink_to("/nowhere")
        assert names(f"{tmp_path}/in") == ["a.jpg", "dangling.jpg", "one.jpg", "other/b.jpg"]

    def test_relative_folder_gives_absolute_uris(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(tmp_path, "in/a.jpg")
        monkeypatch.chdir(tmp_path)
        for source in ("in", "./in/", "in/*.jpg", "in/a.jpg", f"file://{tmp_path}/in"):
            assert read(source)[1]["uri"].to_pylist() == [f"{tmp_path}/in/a.jpg"]

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such file or folder"):
            read(f"{tmp_path}/none")
        with pytest.raises(UserError, match="no images found"):
            read(f"{tmp_path}/*.jpg")
        with pytest.raises(UserError, match="source is empty"):
            read("")
        with pytest.raises(UserError, match="unknown scheme foo"):
            read("foo://x/y")

    def test_folder_that_cannot_be_listed_is_not_passed_over(
        self, unprivileged: Callable[[], AbstractContextManager[None]]
    ) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fill(folder, "a.jpg", "shut/b.jpg")
            folder.chmod(0o755)
            (folder / "shut").chmod(0)
            with unprivileged(), pytest.raises(UserError, match=r"/shut is a folder that cannot be listed: Permission"):
                read(name)
            (folder / "shut").chmod(0o700)


def tar_bytes(*members: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return buffer.getvalue()


def parquet_bytes(rows: int) -> bytes:
    buffer = io.BytesIO()
    images = [{"bytes": b"x%d" % row, "path": f"{row}.jpg"} for row in range(rows)]
    pq.write_table(pa.table({"image": images, "label": range(rows)}), buffer, row_group_size=3)
    return buffer.getvalue()


class TestContainers:
    def test_tar_shards(self, place: tuple[str, Store]) -> None:
        url, store = place
        long = "d/" + "n" * 150 + "ü.jpg"
        write_files(place, "shards/readme.txt")
        fs, root = store.filesystem(f"{url}/shards")
        fs.pipe_file(f"{root}/s-000.tar", tar_bytes("a.jpg", "a.json", "b.PNG"))
        fs.pipe_file(f"{root}/s-001.tar", tar_bytes(long, "c.cls"))
        expected = [
            f"tar://{m}::{url}/shards/{s}"
            for m, s in [("a.jpg", "s-000.tar"), ("b.PNG", "s-000.tar"), (long, "s-001.tar")]
        ]
        for written in ("shards", "shards/*.tar", "shards/s-{000..001}.tar"):
            source, table = read(f"{url}/{written}", store)
            assert table["uri"].to_pylist() == expected
            assert table["object"].to_pylist() == [uri.partition("::")[2] for uri in expected]
            assert source.kind == "tar"
            assert source.left_out.by_extension[".json"] == 1
            assert source.left_out.by_extension[".cls"] == 1
        _, table = read(f"{url}/shards/s-001.tar", store)
        assert table["uri"].to_pylist() == expected[2:]
        assert names(f"{url}/shards", store, extensions=("cls",)) == [f"tar://c.cls::{url}/shards/s-001.tar"]

    def test_offsets_are_where_the_bytes_are(self, tmp_path: Path) -> None:
        data = tar_bytes("a.jpg", "n" * 200 + ".jpg")
        (tmp_path / "a.tar").write_bytes(data)
        _, table = read(f"{tmp_path}/a.tar")
        for row in table.to_pylist():
            assert data[row["offset"] : row["offset"] + row["size"]].decode() in row["uri"]

    def test_parquet_files(self, place: tuple[str, Store]) -> None:
        url, store = place
        write_files(place, "data/readme.md")
        fs, root = store.filesystem(f"{url}/data")
        fs.pipe_file(f"{root}/0.parquet", parquet_bytes(4))
        fs.pipe_file(f"{root}/1.parquet", parquet_bytes(2))
        expected = [f"{url}/data/{file}.parquet#row={row}" for file, rows in ((0, 4), (1, 2)) for row in range(rows)]
        source, table = read(f"{url}/data", store)
        assert (source.kind, table["uri"].to_pylist()) == ("parquet", expected)
        assert table["offset"].to_pylist() == [0, 1, 2, 3, 0, 1]
        source, table = read(f"{url}/data/1.parquet", store)
        assert (source.kind, table["uri"].to_pylist()) == ("parquet", expected[4:])

    def test_folder_of_lists_in_parquet(self, tmp_path: Path) -> None:
        for number in range(2):
            pq.write_table(pa.table({"url": [f"https://h/{number}.jpg"]}), tmp_path / f"{number}.parquet")
        with pytest.raises(UserError, match=r"0\.parquet names images on the web, such as https://h/0\.jpg"):
            read(str(tmp_path))
        source, table = read(str(tmp_path), column="url")
        assert (source.kind, table["uri"].to_pylist()) == ("list", ["https://h/0.jpg", "https://h/1.jpg"])

    def test_folder_of_lists_in_parquet_of_the_same_store(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"path": ["a.jpg", "s3://b/c.jpg"]}), tmp_path / "list.parquet")
        source, table = read(str(tmp_path))
        assert (source.kind, table["uri"].to_pylist()) == ("list", [f"{tmp_path}/a.jpg", "s3://b/c.jpg"])

    def test_images_go_before_containers(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_bytes(tar_bytes("b.jpg"))
        (tmp_path / "z.jpg").write_bytes(b"x")
        source, table = read(str(tmp_path))
        assert table["uri"].to_pylist() == [f"{tmp_path}/z.jpg"]
        assert source.left_out.by_extension == {".tar": 1}

    def test_broken_tar_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "fine.tar").write_bytes(tar_bytes("b.jpg"))
        (tmp_path / "hurt.tar").write_bytes(b"nonsense" * 1000)
        with pytest.raises(UserError, match=r"hurt\.tar is not a readable, uncompressed tar"):
            read(str(tmp_path))


class TestManifests:
    def write(self, folder: Path, *entries: dict[str, Any]) -> ManifestReader:
        fs, path = Store().filesystem(str(folder))
        write_manifest([conform(pa.Table.from_pylist(list(entries), ENTRY_SCHEMA))], fs, path)
        return ManifestReader(str(folder), Store())

    def test_own_manifest_is_a_source(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [
            {"uri": "s3://b/a", "size": 1, "etag": "e", "object": None, "offset": None},
            {"uri": "tar://x::s3://b/t.tar", "size": 2, "etag": "f", "object": "s3://b/t.tar", "offset": 512},
        ]
        rows = [{**row, "kept": None} for row in rows]
        self.write(tmp_path, *rows)
        source, table = read(str(tmp_path))
        assert (source.kind, table.to_pylist()) == ("manifest", rows)
        _, table = read(f"{tmp_path}/part-00000.parquet")
        assert table.to_pylist() == rows

    def test_new_since(self, tmp_path: Path) -> None:
        signed = "https://h/{}.jpg?X-Amz-Date={}&X-Amz-Signature={}"
        old: list[dict[str, Any]] = [
            {"uri": "s3://b/same", "size": 1, "etag": "e"},
            {"uri": "s3://b/etag", "size": 1, "etag": "e"},
            {"uri": "s3://b/size", "size": 1, "etag": None},
            {"uri": "s3://b/unknown", "size": None, "etag": None},
            {"uri": "s3://b/gone", "size": 1, "etag": "e"},
            {"uri": signed.format("same", 1, "a"), "size": None, "etag": None},
            {"uri": "https://h/?id=1", "size": None, "etag": None},
        ]
        new = [
            {"uri": "s3://b/same", "size": 1, "etag": "e"},
            {"uri": "s3://b/etag", "size": 1, "etag": "f"},
            {"uri": "s3://b/size", "size": 2, "etag": None},
            {"uri": "s3://b/unknown", "size": None, "etag": None},
            {"uri": "s3://b/added", "size": 1, "etag": "e"},
            {"uri": signed.format("same", 2, "b"), "size": None, "etag": None},
            {"uri": "https://h/?id=2", "size": None, "etag": None},
        ]
        earlier = self.write(tmp_path / "old", *old)
        table = conform(pa.Table.from_pylist(new, ENTRY_SCHEMA))
        fresh = pa.concat_tables(new_since(iter([table.slice(0, 3), table.slice(3)]), earlier))
        assert fresh["uri"].to_pylist() == ["s3://b/etag", "s3://b/size", "s3://b/added", "https://h/?id=2"]


def test_braces() -> None:
    assert expand_braces("a{08..10}.tar") == ["a08.tar", "a09.tar", "a10.tar"]
    assert expand_braces("{x,y}{0..1}") == ["x0", "x1", "y0", "y1"]
    assert expand_braces("a{b}c{}") == ["a{b}c{}"]
    with pytest.raises(UserError, match="more than"):
        expand_braces("{0..9999999}")


def test_where_a_pattern_begins() -> None:
    assert split_pattern("s3://b/x/y*/z.jpg") == ("s3://b/x", "y*/z.jpg")
    assert split_pattern("/*.jpg") == ("/", "*.jpg")
    assert split_pattern("*.jpg") == (".", "*.jpg")
    with pytest.raises(UserError, match="bucket must be named"):
        split_pattern("s3://b*/x")
