"""Pictures of a run: images whose hashes are near are one, whatever their verdicts, and each image is counted once."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from fakescan.audit.pictures import find_pictures
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.review.conftest import KnownRun, known_run

pytestmark = pytest.mark.unit

ROWS = 700
FAKE = {"verdict": "fake", "score": 0.99, "logit": 4.5}
REAL = {"verdict": "real", "score": 0.01, "logit": -4.5}


def hashed(picture: int, bits: int = 0) -> str:
    """The hash of a picture, with the lowest bits changed."""
    value = int.from_bytes(np.random.default_rng(picture).bytes(32), "big") ^ ((1 << bits) - 1)
    return f"{value:064x}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> KnownRun:
    """Row 10 has 40 copies, all fake; 60 has a real one, 61 is a bit too far; 70 and 71 are blank twins."""
    changes: dict[int, dict[str, Any]] = {row: {"phash": hashed(row)} for row in range(ROWS) if row % 100 != 3}
    changes[10] |= FAKE
    for copy in range(300, 300 + 41):
        if copy % 100 != 3:
            changes[copy] = {"phash": hashed(10, copy % 20), **FAKE}
    changes[60] = {"phash": hashed(60), **FAKE}
    changes[62] = {"phash": hashed(60, 24), **REAL}
    changes[61] = {"phash": hashed(60, 25), **REAL}
    for blank, content in ((70, "ab"), (71, "ab"), (72, "cd")):
        changes[blank] = {"phash": None, "sha256": content * 32, **REAL}
    folder = RunFolder(str(tmp_path_factory.mktemp("pictures") / "run"), Store())
    return known_run(folder, rows=ROWS, changes=changes)


def test_copies_are_one_picture(run: KnownRun, tmp_path: Path) -> None:
    found = find_pictures(run.folder, str(tmp_path / "p.parquet"))
    assert (found.errors, found.missing, found.blank, found.mixed) == (7, 0, 3, 1)
    rows = {row["row_id"]: row for row in pq.read_table(tmp_path / "p.parquet").to_pylist()}
    assert len(rows) == ROWS - 7 == sum(found.images.values())
    assert (rows[10]["picture"], rows[10]["images"]) == (10, 41)
    assert all(rows[copy]["picture"] == 10 for copy in range(304, 341))
    assert [rows[row]["picture"] for row in (60, 61, 62)] == [60, 61, 60]
    assert [rows[row]["picture"] for row in (70, 71, 72)] == [70, 70, 72]
    assert found.largest[0] == (10, "s3://b/f3/000010.jpg", 41)
    assert [images for _, _, images in found.largest] == [41, 2, 2]


def test_the_counts_are_those_of_the_file(run: KnownRun, tmp_path: Path) -> None:
    found = find_pictures(run.folder, str(tmp_path / "p.parquet"))
    counted = duckdb.sql(
        f"SELECT verdict, count(*), count(DISTINCT picture) FROM '{tmp_path / 'p.parquet'}' GROUP BY verdict"
    ).fetchall()
    assert {verdict: (images, pictures) for verdict, images, pictures in counted} == {
        verdict: (found.images[verdict], found.pictures[verdict]) for verdict in found.images
    }
    total = duckdb.sql(f"SELECT count(DISTINCT picture) FROM '{tmp_path / 'p.parquet'}'").fetchall()
    assert total == [(found.total,)]
    assert find_pictures(run.folder) == found


def test_a_limit_of_zero_takes_equal_hashes_alone(run: KnownRun) -> None:
    assert find_pictures(run.folder, limit=0).mixed == 0
    assert find_pictures(run.folder, limit=25).mixed >= 1


def test_a_run_that_is_not_complete(run: KnownRun, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run.folder.path, tmp_path / "run")
    parts = sorted((tmp_path / "run" / "parts").iterdir())
    parts[1].unlink()
    found = find_pictures(RunFolder(str(tmp_path / "run"), Store()), str(tmp_path / "p.parquet"))
    assert found.missing == 256
    assert sum(found.images.values()) + found.errors == ROWS - 256
    parts[0].write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"part-00000000.parquet of .*; see fakescan verify"):
        find_pictures(RunFolder(str(tmp_path / "run"), Store()), str(tmp_path / "q.parquet"))
    assert not (tmp_path / "q.parquet").exists()


def test_a_run_of_errors_alone(tmp_path: Path) -> None:
    nothing = {"verdict": None, "score": None, "logit": None, "off_script": None, "sha256": None}
    error = {**nothing, "error_code": "not_found", "error_message": "gone"}
    run = known_run(RunFolder(str(tmp_path / "run"), Store()), rows=5, changes=dict.fromkeys(range(5), error))
    found = find_pictures(run.folder, str(tmp_path / "p.parquet"))
    assert (found.errors, found.total, found.images, found.largest) == (5, 0, {}, [])
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "p.csv"}, "output: p.csv must end with .parquet"),
        ({"limit": -1}, "limit: -1 does not lie between 0 and 64"),
        ({"limit": 65}, "limit: 65 does not lie"),
    ],
)
def test_what_is_refused(run: KnownRun, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_pictures(run.folder, **arguments)


def test_a_run_of_an_earlier_version(run: KnownRun, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(run.folder.path, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": "3"}))
    with pytest.raises(UserError, match="without perceptual hashes; scan its source again, into a new run"):
        find_pictures(RunFolder(str(tmp_path / "run"), Store()))
