"""Manifests: dense row numbers, duplicates once, any row range, complete or not there at all."""

import json
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.sources.manifest import (
    ENTRY_SCHEMA,
    MANIFEST_SCHEMA,
    ROW_GROUP_ROWS,
    ROWS_PER_FILE,
    ManifestInfo,
    ManifestReader,
    conform,
    write_manifest,
)
from fakescan.sources.reading import LeftOut
from fakescan.sources.uri_set import UriSet
from fakescan.storage.objects import put_atomic
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket

pytestmark = pytest.mark.unit


EARLIER_FINGERPRINT = "c169143e6617f0af4db8a1ff5995b3c93d0ca71bfb997e44bed86ca0f6af348a"
"""Of `entries(0, 40_000)`, from the version before manifests had kept values."""


def entries(first: int, last: int) -> pa.Table:
    numbers = range(first, last)
    return conform(
        pa.table(
            {
                "uri": [f"s3://b/{number:08}.jpg" for number in numbers],
                "size": pa.array([None if number % 7 == 0 else number for number in numbers], pa.int64()),
                "etag": [None if number % 5 == 0 else f"{number:x}" for number in numbers],
            }
        )
    )


def write(folder: Path | str, *tables: pa.Table, **options: Any) -> ManifestInfo:
    fs, path = Store().filesystem(str(folder))
    return write_manifest(iter(tables), fs, path, **options)


def test_round_trip_over_group_and_file_borders(tmp_path: Path) -> None:
    count = ROWS_PER_FILE + 2 * ROW_GROUP_ROWS + 5
    pieces = [entries(first, min(first + 100_003, count)) for first in range(0, count, 100_003)]
    info = write(tmp_path, *pieces, unique=True)
    assert info.rows == count
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json",
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    reader = ManifestReader(str(tmp_path), Store())
    assert reader.info == info
    for first, rows in [
        (0, 1),
        (ROW_GROUP_ROWS - 3, 7),
        (ROWS_PER_FILE - 300, 600),
        (count - 5, 5),
        (5, 40_000),
        (9, 0),
    ]:
        table = reader.rows(first, rows)
        assert table.schema == MANIFEST_SCHEMA
        assert table["row_id"].to_pylist() == list(range(first, first + rows))
        assert table.drop_columns(["row_id"]).equals(entries(first, first + rows).cast(ENTRY_SCHEMA))
    for first, rows in [(-1, 1), (count, 1), (count - 1, 2)]:
        with pytest.raises(IndexError):
            reader.rows(first, rows)


def test_files_have_the_promised_shape(tmp_path: Path) -> None:
    write(tmp_path, entries(0, 2 * ROW_GROUP_ROWS + 1))
    file = pq.ParquetFile(tmp_path / "part-00000.parquet")
    assert file.schema_arrow.equals(MANIFEST_SCHEMA)
    assert [file.metadata.row_group(group).num_rows for group in range(3)] == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 1]
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"


def test_duplicates_are_kept_once_and_counted(tmp_path: Path) -> None:
    write_twice = pa.concat_tables([entries(0, 10), entries(5, 20)])
    left_out = LeftOut(by_extension=Counter({".txt": 3}))
    info = write(tmp_path, entries(3, 8), write_twice, entries(0, 300_000), left_out=left_out)
    assert (info.rows, info.duplicates, info.skipped_by_extension) == (300_000, 5 + 25 + 300_000 - 300_000, {".txt": 3})
    table = ManifestReader(str(tmp_path), Store()).rows(0, 25)
    numbers = [*range(3, 8), 0, 1, 2, 8, 9, *range(10, 20), *range(20, 25)]
    assert table["uri"].to_pylist() == [f"s3://b/{number:08}.jpg" for number in numbers]
    assert table["row_id"].to_pylist() == list(range(25))


def test_fingerprint_is_of_the_rows_alone(tmp_path: Path) -> None:
    whole = entries(0, 40_000)
    bits = [whole.slice(first, 777) for first in range(0, 40_000, 777)]
    first = write(tmp_path / "a", whole).fingerprint
    assert write(tmp_path / "b", *bits).fingerprint == first
    assert write(tmp_path / "c", *(bit.combine_chunks().to_batches()[0] for bit in bits)).fingerprint == first
    for column, value in [("uri", "s3://b/x"), ("size", 17), ("etag", "x"), ("etag", ""), ("offset", 1)]:
        rows = whole.slice(0, 10).to_pylist()
        rows[5][column] = value
        changed = pa.concat_tables([pa.Table.from_pylist(rows, ENTRY_SCHEMA), whole.slice(10)])
        assert (
            write(tmp_path / f"{column}-{value[:1] if isinstance(value, str) else value}", changed).fingerprint != first
        )


def with_kept(table: pa.Table, values: list[str | None]) -> pa.Table:
    return table.set_column(
        table.schema.get_field_index("kept"), ENTRY_SCHEMA.field("kept"), pa.array(values, pa.string())
    )


def test_kept_values_are_part_of_the_fingerprint_where_there_are_any(tmp_path: Path) -> None:
    whole = entries(0, 40_000)
    plain = write(tmp_path / "plain", whole).fingerprint
    assert plain == EARLIER_FINGERPRINT, "of manifests that were written before there were kept values"
    prints = [plain]
    for number, texts in enumerate((['{"id": "1"}'], ['{"id": "2"}'], ['{"id": null}'], [None, '{"id": "1"}'])):
        table = with_kept(whole, [*texts, *[None] * (40_000 - len(texts))])
        prints.append(write(tmp_path / f"{number}", table).fingerprint)
        bits = [table.slice(first, 777) for first in range(0, 40_000, 777)]
        assert write(tmp_path / f"{number}-again", *bits).fingerprint == prints[-1]
        kept = [text for rows in ManifestReader(str(tmp_path / f"{number}"), Store()).tables() for text in rows["kept"]]
        assert [text.as_py() for text in kept[:2]] == [*texts, None][:2]
    assert len(set(prints)) == len(prints)


def test_manifests_without_kept_values_are_read(tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    write(tmp_path, entries(0, 20_000))
    part = tmp_path / "part-00000.parquet"
    before = ManifestReader(str(tmp_path), Store()).rows(0, 20_000)
    pq.write_table(pq.read_table(part).drop_columns(["kept"]), part, row_group_size=ROW_GROUP_ROWS)
    reader = ManifestReader(str(tmp_path), Store())
    assert reader.rows(0, 20_000).equals(before)
    assert reader.rows(0, 20_000).schema == MANIFEST_SCHEMA
    assert [table.schema for table in reader.tables()] == [MANIFEST_SCHEMA] * 2
    assert reader.kept_columns == ()


def test_incomplete_manifest_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no complete manifest"):
        _ = ManifestReader(str(tmp_path), Store()).info

    def dies() -> Iterator[pa.Table]:
        yield entries(0, ROWS_PER_FILE + 1)
        yield entries(ROWS_PER_FILE + 1, 2 * ROWS_PER_FILE)
        raise KeyboardInterrupt

    fs, path = Store().filesystem(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        write_manifest(dies(), fs, path, unique=True)
    assert (tmp_path / "part-00000.parquet").exists()
    with pytest.raises(UserError, match="no complete manifest"):
        _ = ManifestReader(str(tmp_path), Store()).info
    write(tmp_path, entries(0, 10))
    assert ManifestReader(str(tmp_path), Store()).info.rows == 10
    with pytest.raises(FileExistsError):
        write(tmp_path, entries(0, 10))


def test_leftovers_of_a_longer_attempt_are_removed(tmp_path: Path) -> None:
    (tmp_path / "part-00007.parquet").write_bytes(b"old")
    (tmp_path / "mine.txt").write_bytes(b"not ours")
    write(tmp_path, entries(0, 10))
    assert {path.name for path in tmp_path.iterdir()} == {"part-00000.parquet", "manifest.json", "mine.txt"}


def test_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    info = write(tmp_path, entries(0, 1)).model_dump()
    (tmp_path / "manifest.json").write_text(json.dumps({**info, "format": "fakescan-manifest-9"}))
    with pytest.raises(UserError, match="not a manifest of this version"):
        _ = ManifestReader(str(tmp_path), Store()).info


def test_source_is_stored_without_its_signature(tmp_path: Path) -> None:
    write(tmp_path, entries(0, 1), source="https://h/list.txt?X-Amz-Signature=secret")
    assert "secret" not in (tmp_path / "manifest.json").read_text()


def test_lives_in_a_bucket_and_pickles_to_workers(s3_bucket: Bucket) -> None:
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/run/manifest")
    write_manifest([entries(0, 20_000)], fs, path)
    reader = ManifestReader(f"{s3_bucket.url}/run/manifest/", s3_bucket.store)
    assert reader.rows(19_999, 1)["uri"].to_pylist() == ["s3://b/00019999.jpg"]
    again = pickle.loads(pickle.dumps(reader))
    assert again.rows(16_380, 10).equals(reader.rows(16_380, 10))
    assert sum(table.num_rows for table in again.tables()) == 20_000


def test_empty_entries_make_an_empty_manifest(tmp_path: Path) -> None:
    assert write(tmp_path).rows == 0
    assert ManifestReader(str(tmp_path), Store()).rows(0, 0).num_rows == 0


@given(st.lists(st.lists(st.text(max_size=90), max_size=40), max_size=12))
def test_uri_set_is_a_set(batches: list[list[str]]) -> None:
    mine, theirs = UriSet(), set[str]()
    for batch in batches:
        column = pa.array(batch, pa.string())
        assert mine.contains(column).tolist() == [text in theirs for text in batch]
        expected = []
        for text in batch:
            expected.append(text not in theirs)
            theirs.add(text)
        assert mine.add(column).tolist() == expected


def test_uri_set_with_slices_and_lengths_of_every_size() -> None:
    random.seed(0)
    texts = ["x" * length for length in (0, 1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 5000)] * 2
    texts += ["y" * 64 + "\0" * zeros for zeros in range(9)]
    random.shuffle(texts)
    column = pa.array(["head", *texts], pa.string()).slice(1)
    seen = UriSet()
    fresh = seen.add(column)
    assert sorted(text for text, new in zip(texts, fresh, strict=True) if new) == sorted(set(texts))
    assert not seen.add(column).any()


def test_put_of_info_comes_last(s3_bucket: Bucket) -> None:
    """A reader that sees manifest.json sees every part, however early it looks."""
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/m")
    put_atomic(fs, f"{path}/part-00000.parquet", b"half a part of an attempt that died")
    with pytest.raises(UserError, match="no complete manifest"):
        _ = ManifestReader(f"{s3_bucket.url}/m", s3_bucket.store).info
