"""What stops a training says so in one line: a full disk, a store that is lost, a worker that dies."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import new_bucket
from tests.storage_server import SeaweedServer
from tests.striped import settings
from tests.training import checkpoints, errors, output_of, started, train_command, until, workers_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB, in which there is room for some checkpoints of the tiny model."""
    place = tmp_path / "small-disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("setting", ["storage_path", "TMPDIR"])
def test_a_full_disk(setting: str, tiny_model: Path, labelled: Path, tmp_path: Path, small_disk: Path) -> None:
    storage = small_disk if setting == "storage_path" else tmp_path
    config = settings(tiny_model, labelled, storage, zero=0, workers=1, epochs=200, checkpoint_every=2, keep=1)
    environment = {**os.environ, **({"TMPDIR": str(small_disk)} if setting == "TMPDIR" else {})}
    process = started(train_command(tmp_path, config), env=environment)
    until(lambda: checkpoints(storage / "train"), process, "the first checkpoint")
    with suppress(OSError), (small_disk / "something else").open("wb", buffering=0) as file:
        while file.write(b"x" * 2**16):  # until it is full
            pass
    output = output_of(process)
    assert process.returncode == 1, output
    (line,) = errors(output)
    # Before a checkpoint is begun where it was full by then, else as it is written.
    beginnings = {
        "storage_path": (
            f"the next checkpoint takes about [0-9.]+ MB, {small_disk}/train has ",
            "the disk of .* is full",
        ),
        "TMPDIR": (f"a checkpoint is put together in {small_disk}", f"the disk of {small_disk} is full"),
    }
    assert re.match(rf"fakescan: error: {setting}: ({'|'.join(beginnings[setting])})", line), line
    assert line.endswith("; the same command resumes") or "and the same command resumes" in line
    assert len(line) < 300


def test_a_store_that_is_lost(tiny_model: Path, labelled: Path, tmp_path: Path, own_s3: SeaweedServer) -> None:
    bucket = new_bucket(own_s3)
    config = settings(tiny_model, labelled, f"{bucket.url}/runs", zero=0, workers=1, epochs=400, checkpoint_every=2)
    config = {**config, "storage_store": bucket.settings(), "max_failures": 0}
    # Half an hour is too long for a test: every process that is started is less patient.
    (tmp_path / "sitecustomize.py").write_text("import fakescan.storage.objects as o\no.PATIENCE_S = 15.0\n")
    paths = [str(tmp_path), *sys.path]
    process = started(train_command(tmp_path, config), env={**os.environ, "PYTHONPATH": ":".join(filter(None, paths))})
    fs, path = bucket.store.filesystem(f"{bucket.url}/runs/train")

    def has_checkpoint() -> bool:
        fs.invalidate_cache()
        return bool(fs.glob(f"{path}/checkpoint_*/torch.pt"))

    until(has_checkpoint, process, "the first checkpoint")
    own_s3.kill()
    output = output_of(process)
    assert process.returncode == 1, output
    (line,) = errors(output)
    assert line.startswith("fakescan: error: the training stopped: the store of s3://"), output
    assert "is away: " in line
    assert "the same command resumes" in line
    assert len(line) < 400


def test_a_worker_that_dies_is_said_and_counted(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    config = settings(tiny_model, labelled, tmp_path, zero=0, workers=1, epochs=3, checkpoint_every=2)
    process = started(train_command(tmp_path, config))
    until(lambda: checkpoints(tmp_path / "train"), process, "the first checkpoint")
    os.kill(workers_of(process)[0].pid, signal.SIGKILL)
    output = output_of(process)
    assert process.returncode == 0, output
    (line,) = [line for line in output.splitlines() if "were started again" in line]
    assert "a worker failed (it died without a word: killed" in line
    assert "restart 1 of at most 3" in line
    assert "restarts after a worker's death or failure: 1" in output


def test_a_worker_that_dies_for_good(tiny_model: Path, labelled: Path, tmp_path: Path) -> None:
    config = settings(tiny_model, labelled, tmp_path, zero=0, workers=2, epochs=200, checkpoint_every=2, max_failures=0)
    process = started(train_command(tmp_path, config))
    until(lambda: checkpoints(tmp_path / "train"), process, "the first checkpoint")
    os.kill(workers_of(process)[-1].pid, signal.SIGKILL)
    output = output_of(process)
    assert process.returncode == 1, output
    (line,) = errors(output)
    assert " died without a word: killed, or ended by the system for lack of memory; the same command resumes" in line
    assert len(line) < 300
