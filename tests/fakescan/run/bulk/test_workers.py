"""Workers: few parts here, many on Ray, with the same results and the same errors."""

import os
from pathlib import Path
from typing import Any

import pytest

from fakescan.errors import JobFailedError
from fakescan.run.bulk.workers import CLUSTER_PARTS, HERE, MACHINE_PARTS, Workers
from fakescan.run.compact import compact
from fakescan.run.facts.run_facts import read_facts
from fakescan.run.folder import RunFolder
from fakescan.run.summary.summary import summarize
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.run.conftest import make_run


def square(number: int) -> int:
    return number * number


def complain(number: int) -> int:
    if number == 3:
        raise UserError("setting: it is wrong")
    if number == 4:
        raise PermissionError(13, "Permission denied")
    return number


def pid(_: int) -> int:
    return os.getpid()


@pytest.mark.unit
def test_how_many_parts_are_worth_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert not Workers().use_ray(MACHINE_PARTS - 1)
    assert Workers().use_ray(MACHINE_PARTS)
    assert Workers("head:6379").use_ray(CLUSTER_PARTS)
    assert not Workers("head:6379").use_ray(CLUSTER_PARTS - 1)
    assert Workers("head:6379", fewest=1).use_ray(1)
    assert not HERE.use_ray(10**9)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert not Workers().use_ray(10**9)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert Workers().use_ray(CLUSTER_PARTS)


@pytest.mark.unit
def test_errors_are_one_line_of_the_right_kind() -> None:
    assert list(HERE.each(square, range(5), parts=5)) == [0, 1, 4, 9, 16]
    with pytest.raises(UserError, match="setting: it is wrong"):
        list(HERE.each(complain, [3], parts=1))
    with pytest.raises(JobFailedError, match="the store failed: Permission denied"):
        list(HERE.each(complain, [4], parts=1))


@pytest.mark.cluster
def test_tasks_of_ray_do_what_threads_do(tmp_path: Path, ray_cluster: Any) -> None:
    workers = Workers(fewest=1)
    assert list(workers.each(square, range(40), parts=40)) == [number * number for number in range(40)]
    assert os.getpid() not in set(workers.each(pid, range(4), parts=4))
    with pytest.raises(UserError, match=r"^setting: it is wrong$"):
        list(workers.each(complain, [1, 2, 3], parts=3))
    with pytest.raises(JobFailedError, match=r"^the store failed: Permission denied$"):
        list(workers.each(complain, [4], parts=1))
    folder = RunFolder(str(tmp_path / "run"), Store())
    run = make_run(folder, rows=300, shard_rows=3)
    assert verify(folder, workers=workers) == verify(folder)
    assert summarize(folder, workers=workers) == summarize(folder)
    listing = folder.listing()
    found = read_facts(folder, run, listing, workers, keep=False)
    assert found.table.equals(read_facts(folder, run, listing).table)
    here = files(folder, compact(folder, rows_per_file=90))
    for path in Path(folder.path, "compact").iterdir():
        path.unlink()
    assert files(folder, compact(folder, rows_per_file=90, workers=workers)) == here
    Path(folder.part(77)).unlink()
    Path(folder.part(78)).write_bytes(b"")
    assert verify(folder, workers=workers).problems == verify(folder).problems
    assert len(verify(folder).problems) == 2


def files(folder: RunFolder, _: object) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder.path, "compact").iterdir()}
