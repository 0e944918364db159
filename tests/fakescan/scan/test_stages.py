"""Stages: a shard's number becomes its part, and a failure becomes a row; without Ray, called as Ray calls them."""

import hashlib
import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fakescan.run.parts import Sharding
from fakescan.run.schema import COUNTS_KEY, FETCHED_SCHEMA, JUDGED_SCHEMA, Counts, PartSummary, decoded_schema
from fakescan.scan.stages import Decode, Fetch, RunPlace, Write, part_bytes
from fakescan.sources.manifest import write_manifest
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.preprocess import ImageSpec, decode

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


@pytest.fixture
def place(images: Path, tmp_path: Path) -> RunPlace:
    """A run over the ten files, with nothing done yet."""
    run = tmp_path / "run"
    filesystem, path = Store().filesystem(str(run / "manifest"))
    write_manifest(open_source(str(images), Store()), filesystem, path)
    return RunPlace(hashlib.md5(str(run).encode()).hexdigest(), str(run), Store(), Sharding(ROWS, SHARD_ROWS))


def fetch(place: RunPlace, shard: int, **settings: Any) -> pa.Table:
    stage = Fetch(place, Store(), max_bytes=2**20, concurrency=2, timeout_s=5.0, retry_errors=False)
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


def scan(place: RunPlace, shard: int, *, score: float = 0.75, **settings: Any) -> PartSummary:
    table = Decode(SPEC, 10**6)(fetch(place, shard, **settings))
    (row,) = Write(place)(judged(table, score)).to_pylist()
    return PartSummary.from_row(row)


def part(place: RunPlace, shard: int) -> pa.Table:
    table = place.read_part(shard)
    assert table is not None
    return table


def test_fetch_gives_the_bytes_or_the_reason(place: RunPlace, images: Path) -> None:
    table = fetch(place, 1)
    assert table.schema.equals(FETCHED_SCHEMA)
    assert table["row_id"].to_pylist() == [4, 5, 6, 7]
    assert table["error_code"].to_pylist() == ["empty", None, None, None]
    data = (images / "05.png").read_bytes()
    assert table["data"].to_pylist()[:2] == [None, data]
    assert table["sha256"].to_pylist()[1] == hashlib.sha256(data).hexdigest()
    assert table["num_bytes"].to_pylist()[1] == len(data)
    assert len(table["fetch_cpu_s"].unique()) == 1


def test_fetch_of_the_short_last_shard(place: RunPlace) -> None:
    assert fetch(place, 2)["row_id"].to_pylist() == [8, 9]


def test_fetch_shows_no_signature(tmp_path: Path) -> None:
    run = tmp_path / "run"
    filesystem, path = Store().filesystem(str(run / "manifest"))
    write_manifest([pa.table({"uri": ["http://127.0.0.1:9/a.png?X-Amz-Signature=hidden"]})], filesystem, path)
    table = fetch(RunPlace("signed", str(run), Store(), Sharding(1, 1)), 0)
    assert table["uri"].to_pylist() == ["http://127.0.0.1:9/a.png"]
    assert "hidden" not in str(table["error_message"].to_pylist())
    assert table["error_code"].to_pylist() == ["fetch_failed"]


def test_decode_gives_pixels_and_facts_or_the_reason(place: RunPlace, images: Path) -> None:
    table = Decode(SPEC, 10**6)(fetch(place, 1))
    assert table.schema.equals(decoded_schema(28, 28))
    assert table["error_code"].to_pylist() == ["empty", None, "not_an_image", None]
    assert table["width"].to_pylist() == [None, 35, None, 37]
    assert table["height"].to_pylist() == [None, 40, None, 40]
    assert table["format"].to_pylist() == [None, "PNG", None, "PNG"]
    # The file came, although it is no image: its hash is a fact as well.
    assert [value is None for value in table["sha256"].to_pylist()] == [True, False, False, False]
    pixels = table["pixels"].combine_chunks().to_numpy_ndarray()
    assert pixels.shape == (4, 28, 28, 3)
    expected = decode((images / "05.png").read_bytes(), SPEC, max_pixels=10**6).pixels
    assert np.array_equal(pixels[1], expected)
    assert not pixels[0].any()
    assert not pixels[2].any()


def test_decode_of_a_shard_without_one_image(place: RunPlace, images: Path) -> None:
    shutil.rmtree(images)
    table = Decode(SPEC, 10**6)(fetch(place, 0))
    assert table["error_code"].to_pylist() == ["not_found"] * 4
    assert table.schema.equals(decoded_schema(28, 28))


def test_decode_keeps_to_the_pixel_limit(place: RunPlace) -> None:
    table = Decode(SPEC, 32 * 40)(fetch(place, 0))
    assert table["error_code"].to_pylist() == [None, None, None, "too_many_pixels"]


def test_write_puts_the_part_and_says_what_is_in_it(place: RunPlace) -> None:
    summary = scan(place, 1)
    assert (summary.shard, summary.rows, summary.fake, summary.errors) == (1, 4, 2, {"empty": 1, "not_an_image": 1})
    assert summary.examples.keys() == {"empty", "not_an_image"}
    assert summary.engine == {"id": "e"}
    filesystem, path = place.part(1)
    assert summary.part_bytes == filesystem.size(path)
    table = part(place, 1)
    assert table["row_id"].to_pylist() == [4, 5, 6, 7]
    assert table["verdict"].to_pylist() == [None, "fake", None, "fake"]
    footer = pq.read_metadata(path).metadata
    assert footer is not None
    assert footer[b"fakescan.schema_version"] == b"1"
    assert Counts.from_json(footer[COUNTS_KEY.encode()]) == Counts(4, 0, 2, 0, {"empty": 1, "not_an_image": 1})


def test_writing_a_part_again_replaces_it(place: RunPlace) -> None:
    scan(place, 1)
    scan(place, 1, score=0.25)
    assert part(place, 1)["score"].to_pylist() == [None, 0.25, None, 0.25]
    assert [path.name for path in Path(place.url, "parts").iterdir()] == ["part-00000001.parquet"]


def test_a_retry_scans_errors_only_and_keeps_the_other_rows(place: RunPlace, images: Path) -> None:
    scan(place, 1)
    before = part(place, 1).to_pylist()
    Image.new("RGB", (50, 60)).save(images / "06.png")
    # The manifest knows the old version; a text that became an image has changed, so only row 6 gets another code.
    summary = scan(place, 1, score=0.25, retry_errors=True)
    assert (summary.rows, summary.errors) == (2, {"changed": 1, "empty": 1})
    after = part(place, 1).to_pylist()
    assert [after[index] for index in (1, 3)] == [before[index] for index in (1, 3)]
    assert [row["error_code"] for row in after] == ["empty", None, "changed", None]


def test_a_retry_of_a_part_that_was_mended_meanwhile_writes_nothing(place: RunPlace) -> None:
    scan(place, 0)
    _, path = place.part(0)
    before = Path(path).read_bytes()
    summary = scan(place, 0, retry_errors=True)
    assert (summary.shard, summary.rows) == (-1, 0)
    assert Path(path).read_bytes() == before


def test_a_retry_of_a_part_that_is_not_there_scans_the_shard(place: RunPlace) -> None:
    assert scan(place, 1, retry_errors=True).rows == 4


def test_a_shard_that_is_not_whole_is_never_written(place: RunPlace) -> None:
    results = judged(Decode(SPEC, 10**6)(fetch(place, 0)))
    for wrong in (results.slice(1), pa.concat_tables([results, results.slice(0, 1)])):
        with pytest.raises(AssertionError, match="shard 0 has wrong rows"):
            part_bytes(wrong.select(part_columns()), place.sharding, 0)


def test_rows_in_any_order_make_the_same_part(place: RunPlace) -> None:
    results = judged(Decode(SPEC, 10**6)(fetch(place, 0))).select(part_columns())
    shuffled = results.take([2, 0, 3, 1])
    assert part_bytes(shuffled, place.sharding, 0) == part_bytes(results, place.sharding, 0)


def part_columns() -> list[str]:
    from fakescan.run.schema import RESULT_SCHEMA

    return list(RESULT_SCHEMA.names)


def test_stages_travel_to_workers_with_their_secrets_and_show_none(place: RunPlace) -> None:
    import pickle

    store = Store.model_validate({"options": {"secret": "hidden"}})
    stage = Fetch(replace(place, store=store), store, 2**20, 2, 5.0, False)
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert "hidden" not in repr(stage)


def test_a_part_is_read_back_as_it_was_written(place: RunPlace) -> None:
    scan(place, 2)
    filesystem, path = place.part(2)
    assert pq.read_table(io.BytesIO(filesystem.cat_file(path))).equals(part(place, 2))
    assert place.read_part(0) is None
