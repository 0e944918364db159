"""Engines that die, hang, never start and never come back: every row is there in the end, or one line says why not."""

import contextlib
import fcntl
import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.scan_process import ScanProcess, fakescan, read_rows, running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

KILLS, HANGS, FAILS = (255, 0, 255), (0, 255, 255), (255, 255, 0)
DRILLS = {"die_on_rgb": KILLS, "hang_on_rgb": HANGS, "fail_on_rgb": FAILS, "stall_s": 3.0}
IMAGES = 2000
JUDGE = "ray::MapWorker(MapBatches(Judge"
"""Whether it writes its parts itself or not."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 small images, no two alike."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = random.integers(0, 200, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 48)).save(folder / f"{number:05}.png")
    return folder


@pytest.fixture(scope="module")
def hostile(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, of which two kill an engine, one hangs it and one is refused."""
    folder = tmp_path_factory.mktemp("hostile")
    colours = {300: KILLS, 1300: KILLS, 700: HANGS, 1700: FAILS}
    for number, path in enumerate(sorted(images.iterdir())):
        if number in colours:
            Image.new("RGB", (48, 48), colours[number]).save(folder / path.name)
        else:
            os.link(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def expected(images: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The scores of the sound images."""
    folder = tmp_path_factory.mktemp("expected")
    fakescan(*command(folder, images, tiny_model))
    return {Path(row["uri"]).name: row["score"] for row in read_rows(run_of(folder))}


def run_of(folder: Path) -> RunFolder:
    return RunFolder(str(folder / "run"), Store())


def command(folder: Path, source: Path, model: Path, *, replicas: int = 2, **changes: Any) -> list[object]:
    engine = {"kind": "fake", "max_num_seqs": 8, "step_s": 0.02, **changes.pop("engine", {})}
    values = {"source": str(source), "output": str(folder / "run"), "model": str(model), "shard_rows": 64}
    config = folder / "scan.yaml"
    config.write_text(json.dumps({**values, "replicas": replicas, "engine": engine, **changes}))
    return ["scan", "--config", config]


def assert_right(folder: Path, expected: dict[str, float], codes: dict[str, int]) -> None:
    rows = read_rows(run_of(folder))
    assert len(rows) == IMAGES
    assert Counter(row["error_code"] for row in rows if row["error_code"]) == codes
    assert all(row["score"] == expected[Path(row["uri"]).name] for row in rows if row["error_code"] is None)
    fakescan("verify", folder / "run")


def judges(scan: ScanProcess) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(scan.pid).children(recursive=True):
        try:
            if JUDGE in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for two engines."""
    folder = tmp_path / "slots"
    folder.mkdir()
    for number in range(2):
        (folder / str(number)).touch()
    return folder


def unlink_free(slots: Path) -> None:
    """Take away the slots that no engine has."""
    for path in slots.iterdir():
        with path.open("rb") as slot, contextlib.suppress(BlockingIOError):
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@pytest.mark.parametrize("dedupe", [False, True])
def test_images_that_kill_engines_and_one_that_hangs_them(
    hostile: Path, tiny_model: Path, tmp_path: Path, expected: dict[str, float], dedupe: bool
) -> None:
    fakescan(*command(tmp_path, hostile, tiny_model, engine=DRILLS, dedupe=dedupe))
    # The two that kill have the same bytes: with --dedupe one of them is judged.
    assert_right(tmp_path, expected, {"poison": 3, "judge_failed": 1})


def test_one_of_two_engines_never_starts(
    images: Path, tiny_model: Path, tmp_path: Path, slots: Path, expected: dict[str, float]
) -> None:
    (slots / "1").unlink()
    scan = fakescan(*command(tmp_path, images, tiny_model, engine={"start_slots": str(slots), "step_s": 0.1}))
    assert_right(tmp_path, expected, {})
    (line,) = [line for line in scan.err.splitlines() if "gets no more engines" in line]
    assert "no free slot" in line


def test_one_of_two_engines_dies_and_never_comes_back(
    images: Path, tiny_model: Path, tmp_path: Path, slots: Path, expected: dict[str, float]
) -> None:
    arguments = command(tmp_path, images, tiny_model, engine={"start_slots": str(slots), "step_s": 0.1})
    with running(*arguments) as scan:
        scan.wait_for_parts(run_of(tmp_path), 2)
        killed = judges(scan)[0]
        killed.kill()
        killed.wait(10)
        unlink_free(slots)
        assert scan.end() == 0, scan.err
    assert_right(tmp_path, expected, {})


def test_no_engine_starts(images: Path, tiny_model: Path, tmp_path: Path, slots: Path) -> None:
    for slot in slots.iterdir():
        slot.unlink()
    arguments = command(tmp_path, images, tiny_model, engine={"start_slots": str(slots)})
    started = time.monotonic()
    scan = fakescan(*arguments, status=1)
    assert time.monotonic() - started < 60
    last = scan.err.splitlines()[-1]
    assert last.startswith("fakescan: error: no engine starts: "), scan.err
    assert "no free slot" in last
    (slots / "0").touch()
    again = fakescan(*arguments)
    assert f"rows: {IMAGES:,} of {IMAGES:,}" in again.out


def test_all_engines_die_and_none_comes_back(images: Path, tiny_model: Path, tmp_path: Path, slots: Path) -> None:
    arguments = command(tmp_path, images, tiny_model, engine={"start_slots": str(slots), "step_s": 0.1})
    with running(*arguments) as scan:
        scan.wait_for_parts(run_of(tmp_path), 2)
        for slot in slots.iterdir():
            slot.unlink()
        for judge in judges(scan):
            judge.kill()
        assert scan.end(90) == 1
    assert scan.err.splitlines()[-1].startswith("fakescan: error: no engine starts any more: ")
    for number in range(2):
        (slots / str(number)).touch()
    again = fakescan(*arguments)
    assert f"rows: {IMAGES:,} of {IMAGES:,}" in again.out


@pytest.mark.parametrize("dedupe", [False, True])
def test_the_ledger_is_killed_again_and_again(
    hostile: Path, tiny_model: Path, tmp_path: Path, expected: dict[str, float], dedupe: bool
) -> None:
    engine = {"fail_on_rgb": FAILS, "hang_on_rgb": HANGS, "stall_s": 3.0, "step_s": 0.1}
    with running(*command(tmp_path, hostile, tiny_model, engine=engine, dedupe=dedupe)) as scan:
        for count in itertools.count(2, 4):
            scan.wait_for("parts", lambda count=count: len(run_of(tmp_path).part_names()) >= count)
            if count > 14:
                break
            scan.kill_worker("ray::Ledger")
        assert scan.end() == 0, scan.err
    rows = read_rows(run_of(tmp_path))
    assert len(rows) == IMAGES
    assert Counter(row["error_code"] for row in rows if row["error_code"]) == {"poison": 1, "judge_failed": 1}


def test_a_judge_is_stopped(images: Path, tiny_model: Path, tmp_path: Path, expected: dict[str, float]) -> None:
    """Nothing in its process runs any more: the driver ends it, and Ray starts it again."""
    with running(*command(tmp_path, images, tiny_model, engine={"stall_s": 5.0, "step_s": 0.1})) as scan:
        scan.wait_for_parts(run_of(tmp_path), 2)
        stopped = judges(scan)[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        assert scan.end() == 0, scan.err
        assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE
    assert "is silent and is ended" in scan.err
    assert_right(tmp_path, expected, {})
