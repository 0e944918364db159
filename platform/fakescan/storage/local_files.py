"""Files in local and shared folders: written whole or not at all, and what killed writers have left of them."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from pathlib import Path

ABANDONED_S = 60.0
"""Age in seconds below which a temporary file is left alone: locks of another machine may not be seen here."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
_OTHER_DISK = frozenset({errno.EXDEV, errno.EPERM})
"""A rename across disks, and one that a file system between does not allow."""
_COPIED_AT_ONCE = 2**24
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp", re.DOTALL)


def put_local(path: Path, data: bytes, *, exclusive: bool) -> None:
    """Write a file by a temporary one beside it, which is locked for as long as its writer lives.

    With `exclusive` it raises `FileExistsError` when the file is already there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks: then nobody removes it either
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if exclusive:
                _link(temporary, path, data)
            else:
                os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def move_local(source: Path, path: Path) -> None:
    """Move a finished file to where readers see all of it or nothing; from another disk it is copied there first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    try:
        try:
            with source.open("rb") as file:
                os.fsync(file.fileno())
            os.rename(source, path)
        except OSError as error:
            if error.errno not in _OTHER_DISK:
                raise
            with source.open("rb") as file, temporary.open("xb") as copy:
                with contextlib.suppress(OSError):
                    fcntl.flock(copy, fcntl.LOCK_EX)
                shutil.copyfileobj(file, copy, _COPIED_AT_ONCE)
                copy.flush()
                os.fsync(copy.fileno())
                os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(place: Path) -> None:
    """The names in it survive a power cut, not only the contents."""
    folder = os.open(place, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_abandoned(folder: str) -> int:
    """Remove the temporary files below a folder whose writers are dead; returns how many.

    One that is locked, too young, or not to be locked or removed from here, stays.
    """
    removed = 0
    folders = [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    removed += _remove_if_abandoned(entry.path)
    return removed


def _remove_if_abandoned(path: str) -> bool:
    try:
        with open(path, "r+b") as file:  # NFS locks only what is open for writing
            if time.time() - os.fstat(file.fileno()).st_mtime < ABANDONED_S:
                return False
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    except OSError:
        return False
    return True


def _link(temporary: Path, path: Path, data: bytes) -> None:
    """Give a finished file its name unless the name is taken, which a rename does not ask."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("xb") as file:  # a file system without hard links
            file.write(data)
