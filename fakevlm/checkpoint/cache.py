"""The folder for what can be made again, and building something in it once for many processes."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fakevlm.errors import UserError, one_line


def cache_folder(cache_dir: Path | None = None) -> Path:
    """The folder for what can be made again: `cache_dir`, else FAKEVLM_CACHE, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    if own := os.environ.get("FAKEVLM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fakevlm"


def no_one_waits() -> None:
    """For callers whom nobody asks why they wait."""


@contextmanager
def locked(file: Path, waiting: Callable[[], object] = no_one_waits) -> Iterator[None]:
    """Lets one process of this node at a time in; `waiting` is called once where another one is inside.

    The system frees the lock when its holder dies. Raises OSError where the file cannot be made.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # not only for this process: a fork of it has the same lock


def build_once(folder: Path, build: Callable[[Path], object], waiting: Callable[[], object] = no_one_waits) -> Path:
    """`folder`, after `build(partial folder)` has filled it if it did not exist.

    The folder appears under its name only when it is complete, so that a killed build is not mistaken for a finished
    one. Processes that want the same folder wait for the first, each after a call of `waiting`. What a killed build
    left is handed to the next.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock"), waiting):
            if not folder.is_dir():
                partial.mkdir(exist_ok=True)
                build(partial)
                partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {folder.parent}: {one_line(error)}; set FAKEVLM_CACHE"
        ) from None
    return folder
