"""Stages: a shard's number becomes its part, and a failure becomes a row; without Ray, called as Ray calls them."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile, new_run
from fakescan.scan.stages import Decode, Fetch, Write
from fakescan.scan.tables import FETCHED_SCHEMA, JUDGED_SCHEMA, PartSummary, decoded_schema
from fakescan.sources.manifest import write_manifest
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.near_duplicates.phash import phash
from fakevlm.preprocess import ImageSpec, decode
from tests.fakescan.run.conftest import identity

pytestmark = pytest.mark.unit

SPEC = ImageSpec(shortest_edge=28, crop=(28, 28))
ROWS, SHARD_ROWS = 10, 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten files: 00 to 09; 04 is empty, 06 is text."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(ROWS):
        path = folder / f"{number:02}.png"
        Image.new("RGB", (30 + number, 40), (number, 100, 200)).save(path)
    (folder / "04.png").write_bytes(b"")
    (folder / "06.png").write_bytes(b"no image")
    return folder


class Started(NamedTuple):
    """A run with nothing done yet."""

    folder: RunFolder
    run: RunFile


@pytest.fixture
def started(images: Path, tmp_path: Path) -> Started:
    """A run over the ten files."""
    return start(tmp_path / "run", open_source(str(images), Store()), ROWS)


def start(folder: Path, tables: Iterable[pa.Table], rows: int) -> Started:
    filesystem, path = Store().filesystem(str(folder / "manifest"))
    write_manifest(tables, filesystem, path)
    run = new_run(identity(), "m", None, fingerprint="f", rows=rows, population=rows, shard_rows=SHARD_ROWS)
    return Started(RunFolder(str(folder), Store()), run)


def fetch(started: Started, shard: int, **settings: Any) -> pa.Table:
    stage = Fetch(*started, Store(), max_bytes=2**20, concurrency=2, timeout_s=5.0, retry_errors=False)
    return replace(stage, **settings)(pa.table({"shard": [shard]}))


def judged(decoded: pa.Table, score: float = 0.75) -> pa.Table:
    """What the judge hands on: every image that could be decoded is fake."""
    rows = []
    for row in decoded.drop_columns(["pixels"]).to_pylist():
        row |= {"model": "m", "run_id": "r", "scanned_at": datetime.now(UTC), "engine": json.dumps({"id": "e"})}
        if row["error_code"] is None:
            row |= {"verdict": "fake", "score": score, "logit": 1.0, "off_script": 0.0, "explanation": "because"}
        rows.append(row)
    return pa.Table.from_pylist(rows, JUDGED_SCHEMA)


def scan(started: Started, shard: int, *, score: float = 0.75, **settings: Any) -> PartSummary:
    table = Decode(SPEC, 10**6)(fetch(started, shard, **settings))
    (row,) = Write(*started)(judged(table, score)).to_pylist()
    return PartSummary.from_row(row)


def part(started: Started, shard: int) -> pa.Table:
    table = started.folder.read_part(shard)
    assert table is not None
    return table


def test_fetch_gives_the_bytes_or_the_reason(started: Started, images: Path) -> None:
    table = fetch(started, 1)
    assert table.schema.equals(FETCHED_SCHEMA)
    assert table["row_id"].to_pylist() == [4, 5, 6, 7]
    assert table["error_code"].to_pylist() == ["empty", None, None, None]
    data = (images / "05.png").read_bytes()
    assert table["data"].to_pylist()[:2] == [None, data]
    assert table["sha256"].to_pylist()[1] == hashlib.sha256(data).hexdigest()
    assert table["num_bytes"].to_pylist()[1] == len(data)
    assert len(table["fetch_cpu_s"].unique()) == 1


def test_fetch_of_the_short_last_shard(started: Started) -> None:
    assert fetch(started, 2)["row_id"].to_pylist() == [8, 9]


def test_fetch_shows_no_signature(tmp_path: Path) -> None:
    table = fetch(start(tmp_path, [pa.table({"uri": ["http://127.0.0.1:9/a.png?X-Amz-Signature=hidden"]})], 1), 0)
    assert table["uri"].to_pylist() == ["http://127.0.0.1:9/a.png"]
    assert "hidden" not in str(table["error_message"].to_pylist())
    assert table["error_code"].to_pylist() == ["fetch_failed"]


def test_decode_gives_pixels_and_facts_or_the_reason(started: Started, images: Path) -> None:
    table = Decode(SPEC, 10**6)(fetch(started, 1))
    assert table.schema.equals(decoded_schema(28, 28))
    assert table["error_code"].to_pylist() == ["empty", None, "not_an_image", None]
    assert table["width"].to_pylist() == [None, 35, None, 37]
    assert table["height"].to_pylist() == [None, 40, None, 40]
    assert table["format"].to_pylist() == [None, "PNG", None, "PNG"]
    whole = table["pixels"].combine_chunks().to_numpy_ndarray()
    assert table["phash"].to_pylist() == [None, phash(whole[1]), None, phash(whole[3])]
    # The file came, although it is no image: its hash is a fact as well.
    assert [value is None for value in table["sha256"].to_pylist()] == [True, False, False, False]
    pixels = table["pixels"].combine_chunks().to_numpy_ndarray()
    assert pixels.shape == (4, 28, 28, 3)
    expected = decode((images / "05.png").read_bytes(), SPEC, max_pixels=10**6).pixels
    assert np.array_equal(pixels[1], expected)
    assert not pixels[0].any()
    assert not pixels[2].any()


def test_decode_fast_is_done_as_said(images: Path, tmp_path: Path) -> None:
    Image.effect_noise((600, 400), 90).convert("RGB").save(images / "04.png", "JPEG")
    started = start(tmp_path / "other", open_source(str(images), Store()), ROWS)
    exact, fast = (Decode(SPEC, 10**6, decoding=how)(fetch(started, 1)) for how in ("exact", "fast"))  # type: ignore[arg-type]
    for name in ("width", "height", "format", "error_code", "error_message", "sha256"):
        assert exact[name].to_pylist() == fast[name].to_pylist()
    pixels = [table["pixels"].combine_chunks().to_numpy_ndarray() for table in (exact, fast)]
    assert not np.array_equal(pixels[0][0], pixels[1][0])
    assert np.array_equal(pixels[0][1:], pixels[1][1:])  # no JPEG


def test_decode_of_a_shard_without_one_image(started: Started, images: Path) -> None:
    shutil.rmtree(images)
    table = Decode(SPEC, 10**6)(fetch(started, 0))
    assert table["error_code"].to_pylist() == ["not_found"] * 4
    assert table.schema.equals(decoded_schema(28, 28))


def test_decode_keeps_to_the_pixel_limit(started: Started) -> None:
    table = Decode(SPEC, 32 * 40)(fetch(started, 0))
    assert table["error_code"].to_pylist() == [None, None, None, "too_many_pixels"]


def test_write_puts_the_part_and_says_what_is_in_it(started: Started) -> None:
    summary = scan(started, 1)
    assert (summary.shard, summary.counts) == (1, Counts(4, 0, 2, 0, {"empty": 1, "not_an_image": 1}))
    assert summary.examples.keys() == {"empty", "not_an_image"}
    assert summary.engine == {"id": "e"}
    assert summary.copies == 0
    filesystem, path = started.folder.fs, started.folder.part(1)
    assert summary.part_bytes == filesystem.size(path)
    table = part(started, 1)
    assert table["row_id"].to_pylist() == [4, 5, 6, 7]
    assert table["verdict"].to_pylist() == [None, "fake", None, "fake"]
    footer = pq.read_metadata(path).metadata
    assert footer is not None
    assert footer[b"fakescan.schema_version"] == b"5"
    assert Counts.from_json(footer[COUNTS_KEY]) == Counts(4, 0, 2, 0, {"empty": 1, "not_an_image": 1})


def test_write_counts_the_rows_that_are_copies(started: Started) -> None:
    results = judged(Decode(SPEC, 10**6)(fetch(started, 0)))
    index = results.schema.get_field_index("is_copy")
    (row,) = Write(*started)(results.set_column(index, "is_copy", [[True, False, False, True]])).to_pylist()
    assert PartSummary.from_row(row).copies == 2


def test_writing_a_part_again_replaces_it(started: Started) -> None:
    scan(started, 1)
    scan(started, 1, score=0.25)
    assert part(started, 1)["score"].to_pylist() == [None, 0.25, None, 0.25]
    assert [path.name for path in Path(started.folder.parts).iterdir()] == ["part-00000001.parquet"]


def test_a_retry_scans_errors_only_and_keeps_the_other_rows(started: Started, images: Path) -> None:
    scan(started, 1)
    before = part(started, 1).to_pylist()
    Image.new("RGB", (50, 60)).save(images / "06.png")
    # What the manifest knows of the objects, size and version, is of before they were repaired.
    summary = scan(started, 1, score=0.25, retry_errors=True)
    assert summary.counts == Counts(2, fake=1, errors={"empty": 1})
    after = part(started, 1).to_pylist()
    assert [after[index] for index in (1, 3)] == [before[index] for index in (1, 3)]
    assert [row["error_code"] for row in after] == ["empty", None, None, None]
    Image.new("RGB", (50, 60)).save(images / "04.png")  # listed with zero bytes
    assert scan(started, 1, retry_errors=True).counts == Counts(1, fake=1)


def test_a_retry_of_a_part_that_was_resolved_meanwhile_writes_nothing(started: Started) -> None:
    scan(started, 0)
    before = Path(started.folder.part(0)).read_bytes()
    summary = scan(started, 0, retry_errors=True)
    assert (summary.shard, summary.counts.rows) == (-1, 0)
    assert Path(started.folder.part(0)).read_bytes() == before


def test_a_retry_of_a_part_that_is_damaged_scans_the_shard(started: Started) -> None:
    scan(started, 1)
    path = Path(started.folder.part(1))
    path.write_bytes(path.read_bytes()[:-50])
    assert scan(started, 1, retry_errors=True).counts.rows == 4


def test_rows_say_which_version_of_which_object_was_judged(started: Started, images: Path) -> None:
    scan(started, 1)
    rows = part(started, 1).to_pylist()
    file = images / "05.png"
    assert rows[1]["source_key"] == hashlib.sha256(str(file).encode()).hexdigest()
    assert rows[1]["etag"] == f"mtime-{file.stat().st_mtime_ns}"
    assert rows[1]["last_modified"] == datetime.fromtimestamp(file.stat().st_mtime, UTC)
    assert rows[0]["etag"] is None, "listed as empty, and not read"


def test_rows_whose_shown_addresses_are_the_same_have_keys_of_their_own(tmp_path: Path) -> None:
    uris = [f"http://127.0.0.1:9/img?id={number}" for number in range(2)]
    table = fetch(start(tmp_path, [pa.table({"uri": uris})], 2), 0)
    assert len(set(table["uri"].to_pylist())) == 1
    assert table["source_key"].to_pylist() == [hashlib.sha256(uri.encode()).hexdigest() for uri in uris]


def test_a_retry_of_a_part_that_is_not_there_scans_the_shard(started: Started) -> None:
    assert scan(started, 1, retry_errors=True).counts.rows == 4


def test_a_shard_that_is_not_whole_is_never_written(started: Started) -> None:
    results = judged(Decode(SPEC, 10**6)(fetch(started, 0)))
    for wrong in (results.slice(1), pa.concat_tables([results, results.slice(0, 1)])):
        with pytest.raises(AssertionError, match="shard 0 has wrong rows"):
            part_bytes(wrong.select(part_columns()), started.run.sharding, 0)


def test_rows_in_any_order_make_the_same_part(started: Started) -> None:
    results = judged(Decode(SPEC, 10**6)(fetch(started, 0))).select(part_columns())
    shuffled = results.take([2, 0, 3, 1])
    assert part_bytes(shuffled, started.run.sharding, 0) == part_bytes(results, started.run.sharding, 0)


def part_columns() -> list[str]:
    from fakescan.run.schema import RESULT_SCHEMA

    return list(RESULT_SCHEMA.names)


def test_stages_travel_to_workers_with_their_secrets_and_show_none(started: Started) -> None:
    import pickle

    store = Store.model_validate({"options": {"secret": "hidden"}})
    stage = Fetch(replace(started.folder, store=store), started.run, store, 2**20, 2, 5.0, False)
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert "hidden" not in repr(stage)


def test_a_part_is_read_back_as_it_was_written(started: Started) -> None:
    scan(started, 2)
    assert pq.read_table(started.folder.part(2)).equals(part(started, 2))
    assert started.folder.read_part(0) is None
