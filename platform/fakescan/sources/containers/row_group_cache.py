"""Images of Parquet row groups on this machine's disk, so that the shards of a large group do not each read it again.

Parquet is read from the beginning of a row group, and the shards of a group are fetched by several processes in any
order. Whoever needs rows that are not here reads on for the others, and keeps what it passes.
"""

import atexit
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fakescan.isolation.time_limit import renew

logger = logging.getLogger(__name__)

Images = Iterator[bytes | None]

_MAX_BYTES = 8 * 2**30
_FREE_SHARE = 4
"""What is free on the disk is used up to this fraction."""

_SMALL_BYTES = 32 * 2**20
"""Bytes of a group up to which it is kept whole at once."""

_FACTOR = 8
"""Who reads a group again reads on to so many times the rows that were kept."""

_MOST_READ = 0.2
"""Share of a group's bytes after which it is read to its end: all of it costs little more than was read already."""

_STALE_S = 3_600.0
_WAIT_S = 900.0
_POLL_S = 0.05
_ENTRY = 16
"""Bytes of an index entry: first byte and length of an image, -1 for null."""


class RowGroupCache:
    """The rows of one row group of one column. `key` names them and their version, `rows` is how many there are."""

    def __init__(self, key: tuple[object, ...], rows: int, size: int) -> None:
        name = hashlib.sha256("\0".join(map(str, key)).encode(errors="surrogateescape")).hexdigest()[:40]
        self._folder, self._name = _folder(), name
        self._rows, self._size = rows, size

    def read(
        self, wanted: list[int], images: Callable[[], Images], bytes_read: Callable[[], int]
    ) -> list[bytes | None] | None:
        """The images at these places, in ascending order; None where they cannot be kept on the disk.

        `images`: all images of the group from its first on. `bytes_read`: bytes of the file that were read for them so
        far. What `images` raises is raised, and nothing of it is kept.
        """
        if self._folder is None:
            return None
        try:
            with _locked(self._path("lock")) as lock:
                if self._kept() <= wanted[-1]:
                    if not self._make_room():
                        return None
                    self._fill(wanted[-1] + 1, images, bytes_read)
                found = self._load(wanted)
                self._note_served(lock, len(wanted))
        except OSError as error:
            if error.errno is None:  # the store's or Arrow's own
                raise
            logger.info("row groups are not kept on the disk: %s", error)
            return None
        return found

    def _path(self, kind: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._name}.{kind}"

    def _kept(self) -> int:
        try:
            return self._path("index").stat().st_size // _ENTRY
        except FileNotFoundError:
            return 0

    def _fill(self, needed: int, images: Callable[[], Images], bytes_read: Callable[[], int]) -> None:
        """Keep the rows up to `needed`, and further ones as far as that pays."""
        kept = self._kept()
        target = self._rows if self._size <= _SMALL_BYTES else max(needed, _FACTOR * kept)
        before = bytes_read()
        entries: list[tuple[int, int]] = []
        end = self._end(kept)
        with self._path("data").open("ab") as data:
            data.truncate(end)
            try:
                for place, image in enumerate(images()):
                    if place >= target and bytes_read() - before < _MOST_READ * self._size:
                        break
                    if place >= kept:
                        data.write(image or b"")
                        entries.append((end, -1 if image is None else len(image)))
                        end += len(image or b"")
                data.flush()
            except BaseException:  # a full disk among others, which is not to stay full
                os.ftruncate(data.fileno(), self._end(kept))
                raise
        with self._path("index").open("ab") as index:  # only now: what it lists is there
            index.truncate(kept * _ENTRY)
            index.write(np.array(entries, "<i8").tobytes())

    def _end(self, kept: int) -> int:
        """Bytes of data of the rows that are kept."""
        if not kept:
            return 0
        with self._path("index").open("rb") as index:
            index.seek((kept - 1) * _ENTRY)
            first, length = np.frombuffer(index.read(_ENTRY), "<i8").tolist()
        return int(first + max(0, length))

    def _load(self, wanted: list[int]) -> list[bytes | None] | None:
        entries = np.fromfile(self._path("index"), "<i8").reshape(-1, 2)
        if len(entries) <= wanted[-1]:  # the group has fewer rows than its footer says
            return None
        found: list[bytes | None] = []
        with self._path("data").open("rb") as data:
            for first, length in entries[wanted].tolist():
                found.append(None if length < 0 else os.pread(data.fileno(), length, first))
                if length > 0 and len(found[-1] or b"") < length:
                    return None
        return found

    def _note_served(self, lock: int, rows: int) -> None:
        """Remove the group once all its rows were asked for, which a scan does once."""
        served = int(os.pread(lock, 20, 0) or 0) + rows
        if served >= self._rows:
            self._remove(self._name)
            return
        os.pwrite(lock, f"{served:020}".encode(), 0)
        os.utime(lock)

    def _remove(self, name: str) -> None:
        assert self._folder is not None
        for kind in ("data", "index", "lock"):
            (self._folder / f"{name}.{kind}").unlink(missing_ok=True)

    def _make_room(self) -> bool:
        """Whether there is room for the group, after groups that nobody asks for any more are removed."""
        assert self._folder is not None
        kept: list[tuple[float, int, str]] = []
        for path in self._folder.glob("*.lock"):
            with contextlib.suppress(FileNotFoundError):
                files = [file.stat() for file in (path, path.with_suffix(".data")) if file.exists()]
                if files:  # else another process has removed it meanwhile
                    kept.append((max(file.st_mtime for file in files), files[-1].st_size, path.stem))
        kept = sorted(entry for entry in kept if entry[2] != self._name)
        free = shutil.disk_usage(self._folder).free
        total = sum(size for _, size, _ in kept)
        limit = min(_MAX_BYTES, (free + total) // _FREE_SHARE)
        if self._size > limit:
            return False
        for changed, size, name in kept:
            if total + self._size <= limit and time.time() - changed < _STALE_S:
                break
            self._remove(name)
            total -= size
        return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """A file, locked against other processes and threads. OSError when it does not come free."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, path):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise
            time.sleep(_POLL_S)
            renew()  # it is another process that is at work
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    try:
        yield lock
    finally:
        os.close(lock)


def _is_at(lock: int, path: Path) -> bool:
    """Whether the file still has its name: another process may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


_lock = threading.Lock()
_folders: dict[int, Path | None] = {}


def _folder() -> Path | None:
    """This user's folder for row groups; None where there is no safe one. The last process to end removes it."""
    with _lock:
        if os.getpid() not in _folders:
            _folders[os.getpid()] = _open_folder()
        return _folders[os.getpid()]


def _open_folder() -> Path | None:
    folder = Path(tempfile.gettempdir()) / f"fakescan-row-groups-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        user = os.open(folder, os.O_RDONLY)
        fcntl.flock(user, fcntl.LOCK_SH)
    except OSError:
        return None
    atexit.register(_leave, folder, user, os.getpid())
    return folder


def _leave(folder: Path, user: int, pid: int) -> None:
    """Remove the folder unless another process uses it."""
    with contextlib.suppress(OSError):
        if os.getpid() == pid:
            fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
