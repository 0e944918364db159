"""Checkpoints between a worker's disk and the run's storage: each worker moves only what is its own."""

import posixpath
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakescan.storage.store import Store

CHECKPOINT = "checkpoint_"
"""Beginning of the name of a checkpoint's folder; its step follows."""


def report(folder: Path, metrics: dict[str, Any]) -> None:
    """Hand this worker's files to Ray Train, which puts those of all workers into one folder of the run."""
    import ray.train

    has_files = any(path.is_file() for path in folder.rglob("*"))
    checkpoint = ray.train.Checkpoint.from_directory(str(folder)) if has_files else None
    name = f"{CHECKPOINT}{metrics['step']:07d}"
    ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)


def last_checkpoint() -> Any:
    """The run's last checkpoint, Ray Train's; None where there is none yet."""
    import ray.train

    return ray.train.get_checkpoint()


def reported_checkpoints() -> list[tuple[Any, dict[str, Any]]]:
    """The run's checkpoints that are still there, with what was reported with each. All workers call it."""
    import ray.train

    return [(found.checkpoint, found.metrics) for found in ray.train.get_all_reported_checkpoints()]


def fetch(checkpoint: Any, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Copy the wanted files of a checkpoint into `folder`."""
    import pyarrow.fs

    fs, root, local = checkpoint.filesystem, checkpoint.path, pyarrow.fs.LocalFileSystem()
    for entry in fs.get_file_info(pyarrow.fs.FileSelector(root, recursive=True)):
        name = posixpath.relpath(entry.path, root)
        if entry.type != pyarrow.fs.FileType.File or not wanted(posixpath.basename(name)):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.fs.copy_files(entry.path, str(target), source_filesystem=fs, destination_filesystem=local)


def random_states() -> dict[str, Any]:
    """The states of all random generators, for `restore_random_states`."""
    import torch

    states = {"python": random.getstate(), "torch": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def restore_random_states(states: dict[str, Any]) -> None:
    """Go on drawing where another process stopped."""
    import torch

    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def arrow_filesystem(store: Store, url: str) -> Any:
    """Arrow's view of the file system for `url`. It pickles as the store, so that each process opens its own."""
    import pyarrow.fs

    class Handler(pyarrow.fs.FSSpecHandler):  # type: ignore[misc]
        """Arrow's handler, but for how it pickles."""

        def __reduce__(self) -> Any:
            return _handler, (store, url)

    return pyarrow.fs.PyFileSystem(Handler(store.filesystem(url)[0]))


def _handler(store: Store, url: str) -> Any:
    return arrow_filesystem(store, url).handler
