"""The summary of a run: what it counts, of runs that are whole, unfinished and damaged."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.run.summary.summary import band_counts, summarize
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

SHARD_ROWS = 4
A, B, C = (letter * 64 for letter in "abc")
ROWS: list[dict[str, Any]] = [
    {"uri": "s3://b/cats/1.jpg", "verdict": "fake", "score": 0.95, "sha256": A, "num_bytes": 5, "format": "JPEG"},
    {"uri": "s3://b/cats/2.jpg", "verdict": "fake", "score": 0.7, "sha256": B, "num_bytes": 7, "format": "JPEG"},
    {"uri": "s3://b/dogs/1.jpg", "verdict": "real", "score": 0.0, "sha256": A, "num_bytes": 5, "format": "JPEG"},
    {"uri": "s3://b/dogs/2.jpg", "error_code": "denied", "error_message": "forbidden"},
    {"uri": "s3://b/dogs/3.jpg", "error_code": "truncated", "error_message": "cut", "sha256": B, "num_bytes": 7},
    {"uri": "s3://b/top.png", "verdict": "uncertain", "score": 1.0, "sha256": C, "num_bytes": 900, "format": "PNG"}
    | {"width": 30, "height": 20, "error_message": "ends early"},
    {"uri": "s3://b/dogs/4.jpg", "error_code": "denied", "error_message": "other words"},
]


def written(folder: RunFolder, rows: list[dict[str, Any]] = ROWS) -> RunFolder:
    """A run with these rows."""
    run = make_run(folder, rows=len(rows), shard_rows=SHARD_ROWS)
    common = {"model": run.model, "run_id": run.run_id, "scanned_at": datetime(2026, 11, 26, 8, tzinfo=UTC)}
    full = [{"row_id": number, **common, **row} for number, row in enumerate(rows)]
    for shard in range(run.sharding.count):
        first = run.sharding.first(shard)
        table = pa.Table.from_pylist(full[first : first + run.sharding.size(shard)], RESULT_SCHEMA)
        folder.write_part(shard, part_bytes(table, run.sharding, shard))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return written(RunFolder(str(tmp_path / "run"), Store()))


def test_every_row_is_counted_in_every_way(folder: RunFolder) -> None:
    found = summarize(folder)
    assert (found.rows, found.done, found.is_finished, found.unreadable) == (7, 7, True, [])
    assert found.outcomes.model_dump() == {"rows": 7, "real": 1, "fake": 2, "uncertain": 1, "errors": 3}
    assert found.bands == [1, 0, 0, 0, 0, 0, 0, 1, 0, 2]
    assert [(error.code, error.rows, error.uri, error.message) for error in found.errors] == [
        ("denied", 2, "s3://b/dogs/2.jpg", "forbidden"),
        ("truncated", 1, "s3://b/dogs/3.jpg", "cut"),
    ]
    assert found.noted == 1
    assert found.folders.base == "s3://b"
    assert [(item.folder, item.rows, item.errors) for item in found.folders.largest] == [
        ("dogs", 4, 3),
        ("cats", 2, 0),
        (".", 1, 0),
    ]
    assert (found.folders.others, found.folders.other_rows) == (0, 0)


def test_copies_and_those_whose_verdicts_differ(folder: RunFolder) -> None:
    """An error is no verdict: only the first content got two."""
    copies = summarize(folder).copies
    assert (copies.contents, copies.rows, copies.differing) == (2, 4, 1)
    assert [sorted(group.uris) for group in copies.largest] == [
        ["s3://b/cats/1.jpg", "s3://b/dogs/1.jpg"],
        ["s3://b/cats/2.jpg", "s3://b/dogs/3.jpg"],
    ]
    (group,) = copies.different
    assert (group.real, group.fake, group.rows) == (1, 1, 2)


def test_facts_of_the_images(folder: RunFolder) -> None:
    images = summarize(folder).images
    assert images.num_bytes == 5 + 7 + 5 + 7 + 900
    assert images.formats == {"JPEG": 3, "PNG": 1}
    assert images.largest is not None
    assert images.largest.uri == "s3://b/top.png"
    assert images.smallest is not None
    assert images.smallest.num_bytes == 5
    assert images.most_pixels == images.fewest_pixels
    assert images.most_pixels is not None
    assert (images.most_pixels.width, images.most_pixels.height) == (30, 20)


def test_an_unfinished_run_is_counted_as_far_as_it_is(folder: RunFolder) -> None:
    Path(folder.part(0)).unlink()
    found = summarize(folder)
    assert (found.rows, found.done, found.is_finished) == (7, 3, False)
    assert found.outcomes.rows == 3
    assert found.copies.contents == 0


def test_a_run_without_a_part_yet(folder: RunFolder) -> None:
    for shard in range(2):
        Path(folder.part(shard)).unlink()
    found = summarize(folder)
    assert (found.done, found.outcomes.rows, found.bands) == (0, 0, [0] * 10)
    assert (found.images.largest, found.scanned_from, found.folders.largest) == (None, None, [])


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1 no footer PAR1", None])
def test_a_damaged_part_is_named_and_the_others_are_counted(folder: RunFolder, damage: bytes | None) -> None:
    part = Path(folder.part(0))
    data = part.read_bytes()
    part.write_bytes(data[: len(data) // 2] + data[-40:] if damage is None else damage)
    found = summarize(folder)
    ((name, rows),) = [(item.name, item.rows) for item in found.unreadable]
    assert (name, rows) == ("parts/part-00000000.parquet", 4)
    assert "\n" not in found.unreadable[0].reason
    assert (found.outcomes.rows, found.done) == (3, 7)


def test_a_part_with_fewer_rows_than_it_should_have_is_not_counted(folder: RunFolder, tmp_path: Path) -> None:
    other = written(RunFolder(str(tmp_path / "other"), Store()), ROWS[:3])
    Path(folder.part(0)).write_bytes(Path(other.part(0)).read_bytes())
    (part,) = summarize(folder).unreadable
    assert part.reason == "holds 3 rows, not 4"


def test_a_column_that_a_part_lacks_is_empty(folder: RunFolder) -> None:
    import pyarrow.parquet as pq

    table = folder.read_part(0)
    assert table is not None
    other = table.drop_columns(["sha256", "error_message"]).replace_schema_metadata(None)
    pq.write_table(other, folder.part(0))
    found = summarize(folder)
    assert found.outcomes.rows == 7
    assert found.copies.contents == 0
    assert found.errors[0].message is None


def test_distorted_copies_of_an_image_are_not_its_copies(tmp_path: Path) -> None:
    """A robustness evaluation judges each image once under every condition."""
    folder = written(RunFolder(str(tmp_path / "run"), Store()), [ROWS[0], ROWS[1]] * 2)
    run = folder.open()
    assert summarize(folder).copies.contents == 2
    identity = run.identity.model_copy(update={"conditions": ("none", "jpeg-80")})
    folder.save(run.model_copy(update={"identity": identity}))
    assert summarize(folder).copies.contents == 0


def test_a_run_in_a_bucket(folder: RunFolder, s3_bucket: Bucket) -> None:
    url = s3_bucket.upload(Path(folder.path), "run")
    assert summarize(RunFolder(url, s3_bucket.store)).outcomes == summarize(folder).outcomes


def test_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        summarize(RunFolder(str(tmp_path), Store()))


def test_scores_on_a_border_count_in_the_upper_band() -> None:
    tenths = pa.chunked_array([pa.array([number / 10 for number in range(11)], pa.float32())])
    assert band_counts(tenths).tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    odd = pa.chunked_array([pa.array([None, float("nan"), 0.0999, 0.9999], pa.float32())])
    assert band_counts(odd).tolist() == [1, *[0] * 8, 1]
    assert int(np.sum(band_counts(pa.chunked_array([], pa.float32())))) == 0


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_that_are_counted_apart_give_the_same_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    draw = np.random.default_rng(parts)
    rows = [
        ROWS[number] | {"uri": f"{ROWS[number]['uri']}/{draw.integers(3)}/x"} for number in draw.integers(7, size=61)
    ]
    folder = written(RunFolder(str(tmp_path / "run"), Store()), rows)
    Path(folder.part(5)).write_bytes(b"damaged")
    whole = summarize(folder)
    assert [part.name for part in whole.unreadable] == ["parts/part-00000005.parquet"]
    monkeypatch.setattr("fakescan.run.summary.summary.BATCH_PARTS", parts)
    assert summarize(folder) == whole
