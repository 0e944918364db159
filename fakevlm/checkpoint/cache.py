"""The folder for what can be made again, and building something in it once for many processes."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from fakevlm.errors import UserError, one_line


def cache_folder(cache_dir: Path | None = None) -> Path:
    """The folder for what can be made again: `cache_dir`, else FAKEVLM_CACHE, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    if own := os.environ.get("FAKEVLM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fakevlm"


def build_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """`folder`, after `build(partial folder)` has filled it if it did not exist.

    The folder appears under its name only when it is complete, so that a killed build is not mistaken for a finished
    one. Processes that want the same folder wait for the first. What a killed build left is handed to the next.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system frees it when the process dies
            if not folder.is_dir():
                partial.mkdir(exist_ok=True)
                build(partial)
                partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {folder.parent}: {one_line(error)}; set FAKEVLM_CACHE"
        ) from None
    return folder
