"""Room on the disk where checkpoints are put together before their upload, and what dead workers have left there."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fakescan.isolation.memory import machine_memory
from fakevlm.errors import UserError

_PREFIX, _NEW = "fakescan-staging-", "fakescan-new-"
_LOCK = "lock"
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@contextmanager
def staging_folder() -> Iterator[Path]:
    """An empty folder on the disk of temporary files, which is deleted in the end."""
    folder = StagingFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


class StagingFolder:
    """The same, for as long as it is wanted. It is locked for as long as this process lives."""

    def __init__(self) -> None:
        made = Path(tempfile.mkdtemp(prefix=_NEW))
        self._lock = (made / _LOCK).open("wb")
        self._lock.write(_this_machine())
        self._lock.flush()
        with suppress(OSError):  # a file system without locks: then nobody deletes it either
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._place = made.with_name(made.name.replace(_NEW, _PREFIX, 1))
        made.rename(self._place)  # only now, with its lock, may it be taken for one that was left behind
        self.path = self._place / "files"
        self.path.mkdir()

    def remove(self) -> None:
        """Delete it with all that is left in it."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._lock.close()


def remove_abandoned_folders() -> int:
    """Delete the staging folders of processes of this machine that are dead; returns how many."""
    removed = 0
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (place / _LOCK).open("r+b") as lock:
            if lock.read() != _this_machine():  # on a shared disk, whose locks may not reach from there to here
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place)
            removed += 1
    return removed


def _this_machine() -> bytes:
    """What tells this machine, since it was started, from others; containers on it are the same machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes()


def check_room(needed: int, what: str) -> None:
    """Raise UserError where the disk of this process's temporary files has no room for that many bytes.

    `what` begins the message, as in "a checkpoint is put together in".
    """
    if (lack := lack_of_room(needed, what)) is not None:
        raise UserError(lack)


def lack_of_room(needed: int, what: str) -> str | None:
    """The same as a line that says what to do; None where there is room.

    A disk that is memory, such as `/dev/shm`, has as much room as there is memory.
    """
    place, free = free_bytes(Path(tempfile.gettempdir()))
    left = ""
    if is_in_memory(place):
        free, left = min(free, machine_memory().available), ", which is memory"
    if needed <= free:
        return None
    return (
        f"TMPDIR: {what} {place}{left}, about {size_text(needed)}; {size_text(free)} are free there; set TMPDIR to a "
        f"folder {'on a disk ' if left else ''}with more room"
    )


def size_text(count: int) -> str:
    """Bytes for a person.

    >>> size_text(84_000_000_000), size_text(1_200_000)
    ('84.0 GB', '1.2 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 10**8 else f"{count / 1e6:.1f} MB"


def free_bytes(folder: Path) -> tuple[Path, int]:
    """The folder, or the deepest one above it that exists, and the bytes free on its disk."""
    place = folder
    while not place.exists():
        place = place.parent
    return place, shutil.disk_usage(place).free


def is_in_memory(folder: Path) -> bool:
    """Whether a folder that exists is on a file system that is memory."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted and after.split()[0] in _IN_MEMORY:
                return True
    return False


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
