"""Checkpoints that are in the run's storage, and how a worker gets what it needs of one."""

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from fakescan.storage.objects import get_file, patiently
from fakescan.storage.store import is_local
from fakescan.storage.url import redact
from fakescan.train.checkpoints.room import check_room

CHECKPOINT = "checkpoint_"
"""Beginning of the name of a checkpoint's folder; its step follows."""


def checkpoint_name(step: int) -> str:
    """Name of the folder of the checkpoint that was made after so many steps."""
    return f"{CHECKPOINT}{step:07d}"


def last_checkpoint() -> Any:
    """The run's last checkpoint, Ray Train's; None where there is none yet."""
    import ray.train

    return ray.train.get_checkpoint()


def reported_checkpoints() -> list[tuple[Any, dict[str, Any]]]:
    """The run's checkpoints that are still there, with what was reported with each. All workers call it.

    Waits for those that are being uploaded.
    """
    import ray.train

    return [(found.checkpoint, found.metrics) for found in ray.train.get_all_reported_checkpoints()]


def fetch(fs: AbstractFileSystem, root: str, folder: Path, wanted: Callable[[str], bool], *, sharers: int = 1) -> None:
    """Put the wanted files of the checkpoint at `root` into `folder`; those of a local disk as links.

    Raises UserError where the disk has no room for them; `sharers` workers fetch as much at the same time.
    """
    found = patiently(lambda: fs.find(root, detail=True), f"listing {redact(root)}")
    sizes = {path: int(entry["size"] or 0) for path, entry in found.items() if wanted(posixpath.basename(path))}
    if not is_local(fs):
        check_room(sum(sizes.values()) * sharers, "the checkpoint is fetched to")
    for path in sizes:
        target = folder / posixpath.relpath(path, root)
        if is_local(fs):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
        else:
            get_file(fs, path, target)
