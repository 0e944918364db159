"""Room on the disk of temporary files, and what dead workers have left there."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fakescan.isolation.memory import Memory
from fakescan.train.checkpoints import room
from fakescan.train.checkpoints.room import (
    StagingFolder,
    check_room,
    is_in_memory,
    remove_abandoned_folders,
    staging_folder,
)
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_disk_without_room_names_the_setting_and_the_fix(temporary: Path) -> None:
    check_room(1, "a checkpoint is put together in")
    with pytest.raises(UserError) as caught:
        check_room(10**15, "a checkpoint is put together in")
    line = str(caught.value)
    assert line.startswith(f"TMPDIR: a checkpoint is put together in {temporary}, about 1000000.0 GB; ")
    assert line.endswith("are free there; set TMPDIR to a folder with more room")


def test_a_disk_that_is_memory_has_as_much_room_as_there_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or not is_in_memory(shared):
        pytest.skip("this machine has no /dev/shm in memory")
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    check_room(1000, "a checkpoint is put together in")
    monkeypatch.setattr(room, "machine_memory", lambda: Memory(10**9, 5000))
    with pytest.raises(
        UserError, match=r"in /dev/shm, which is memory, about 0\.0 MB; 0\.0 MB are free there; set TMPD"
    ):
        check_room(6000, "a checkpoint is put together in")


def test_a_disk_is_not_memory(tmp_path: Path) -> None:
    if is_in_memory(tmp_path):
        pytest.skip("temporary files are in memory here")
    assert not is_in_memory(Path("/"))


def test_a_staging_folder_is_gone_in_the_end(temporary: Path) -> None:
    with staging_folder() as folder:
        (folder / "a.pt").write_bytes(b"1")
    assert not list(temporary.iterdir())


def test_what_a_killed_process_has_left_is_deleted_and_nothing_else(temporary: Path) -> None:
    code = (
        "import os, tempfile; from fakescan.train.checkpoints.room import StagingFolder\n"
        f"tempfile.tempdir = {str(temporary)!r}\n"
        "folder = StagingFolder(); (folder.path / 'big.pt').write_bytes(b'x' * 1000)\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=_environment(), check=False)
    assert ended.returncode == -9
    (left,) = temporary.iterdir()
    assert (left / "files" / "big.pt").exists()
    alive = StagingFolder()
    others = temporary / "fakescan-staging-of-another-machine"
    others.mkdir()
    (others / "lock").write_bytes(b"another boot\n")
    unfinished = temporary / "fakescan-staging-without-lock"
    unfinished.mkdir()
    assert remove_abandoned_folders() == 1
    assert not left.exists()
    assert alive.path.exists()
    assert others.exists()
    assert unfinished.exists()
    alive.remove()
    assert remove_abandoned_folders() == 0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
