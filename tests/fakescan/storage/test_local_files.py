"""Files in a folder: what a killed writer leaves is removed, what a living one writes is not."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fakescan.storage.local_files import ABANDONED_S, move_local, put_local, remove_abandoned

pytestmark = pytest.mark.unit

WRITER = """
import os, sys, time
from pathlib import Path
from fakescan.storage.local_files import put_local

def disk_that_hangs(file):
    print("writing", flush=True)
    time.sleep(600)

os.fsync = disk_that_hangs
put_local(Path(sys.argv[1]), b"half", exclusive=False)
"""


def aged(path: Path) -> Path:
    """The same file, as if it were old."""
    then = time.time() - 2 * ABANDONED_S
    os.utime(path, (then, then))
    return path


def test_what_a_killed_writer_has_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    command = [sys.executable, "-c", WRITER, str(parts / "part-00000001.parquet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            (temporary,) = parts.iterdir()
            aged(temporary)
            assert remove_abandoned(str(tmp_path)) == 0
            writer.send_signal(signal.SIGSTOP)
            assert remove_abandoned(str(tmp_path)) == 0
            assert temporary.exists()
        finally:
            writer.kill()
    assert remove_abandoned(str(tmp_path)) == 1
    assert list(parts.iterdir()) == []


def test_young_files_and_files_of_others_stay(tmp_path: Path) -> None:
    young = tmp_path / f".part-00000001.parquet.{'0' * 16}.tmp"
    young.write_bytes(b"half")
    names = ["part-00000001.parquet", ".part-00000001.parquet.tmp", f"notes.{'0' * 16}.tmp", f".x.{'g' * 16}.tmp"]
    for name in names:
        aged_file = tmp_path / name
        aged_file.write_bytes(b"x")
        aged(aged_file)
    (tmp_path / f".folder.{'1' * 16}.tmp").mkdir()
    target = tmp_path / "target"
    target.write_bytes(b"x")
    (tmp_path / f".link.{'2' * 16}.tmp").symlink_to(aged(target))
    before = sorted(tmp_path.iterdir())
    assert remove_abandoned(str(tmp_path)) == 0
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_looked_at_stays_and_stops_nothing(tmp_path: Path) -> None:
    for name in ("closed", "listed"):
        folder = tmp_path / name
        folder.mkdir()
        aged_file = folder / f".part-00000001.parquet.{'0' * 16}.tmp"
        aged_file.write_bytes(b"half")
        aged(aged_file)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "listed").chmod(0o400)
    assert remove_abandoned(str(tmp_path)) == 0
    (tmp_path / "closed").chmod(0o700)
    (tmp_path / "listed").chmod(0o700)
    assert remove_abandoned(str(tmp_path)) == 2


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert remove_abandoned(str(tmp_path / "none")) == 0


@pytest.mark.parametrize("exclusive", [False, True])
def test_nothing_but_the_file_is_left_of_a_writing(tmp_path: Path, exclusive: bool) -> None:
    put_local(tmp_path / "run.json", b"{}", exclusive=exclusive)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_finished_file_is_moved_and_copied_to_another_disk(tmp_path: Path) -> None:
    source, target = tmp_path / "a.pt", tmp_path / "run" / "a.pt"
    source.write_bytes(b"new")
    target.parent.mkdir()
    target.write_bytes(b"old")
    move_local(source, target)
    assert target.read_bytes() == b"new"
    assert not source.exists(), "a rename: large checkpoints are not written twice"
    other = Path(tempfile.mkdtemp(dir="/dev/shm")) / "a.pt"
    try:
        if os.stat(other.parent).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("temporary files are in /dev/shm")
        move_local(target, other)
        assert other.read_bytes() == b"new"
        assert [path.name for path in other.parent.iterdir()] == ["a.pt"]
    finally:
        shutil.rmtree(other.parent)
