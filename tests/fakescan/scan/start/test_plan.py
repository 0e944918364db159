"""The plan: what of a run, or of a slice of it, is to be done, and what is missing at the end."""

from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.run_file import RunFile, new_run
from fakescan.scan.start.plan import make_plan, parts_missing
from fakescan.settings.run_slice import RunSlice
from fakescan.storage.store import Store
from tests.fakescan.run.conftest import identity

pytestmark = pytest.mark.unit


@pytest.fixture
def run() -> RunFile:
    return new_run(identity(), "m", None, fingerprint="f", rows=95, population=95, shard_rows=10)


@pytest.mark.parametrize(
    ("text", "todo", "rows"),
    [(None, range(10), 95), ("1/3", range(3), 30), ("2/3", range(3, 6), 30), ("3/3", range(6, 10), 35)],
)
def test_a_slice_plans_its_own_shards(text: str | None, todo: range, rows: int, run: RunFile, tmp_path: Path) -> None:
    part = None if text is None else RunSlice(number=int(text[0]), count=int(text[2]))
    plan = make_plan(RunFolder(str(tmp_path), Store()), run, retry_errors=False, part=part)
    assert plan.todo.tolist() == list(todo)
    assert plan.rows == rows


def test_an_empty_object_is_a_missing_part(run: RunFile, tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), Store())
    Path(folder.parts).mkdir()
    for shard in range(12):
        Path(folder.parts, part_name(shard)).write_bytes(b"" if shard in (1, 8) else b"anything")
    assert parts_missing(folder, run, None) == (2, 0)
    assert parts_missing(folder, run, RunSlice(number=1, count=2)) == (1, 1)
    assert parts_missing(folder, run, RunSlice(number=2, count=4)) == (0, 2)


def test_a_billion_rows_are_planned_at_once(tmp_path: Path) -> None:
    run = new_run(identity(), "m", None, fingerprint="f", rows=10**9, population=10**9, shard_rows=500)
    plan = make_plan(RunFolder(str(tmp_path), Store()), run, retry_errors=False)
    assert (len(plan.todo), plan.rows) == (2_000_000, 10**9)
    assert run.sharding.rows_of(plan.todo) == 10**9
