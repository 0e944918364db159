"""Checkpoints between a worker's disk and the run's storage: each worker moves only what is its own."""

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any


def report(folder: Path, metrics: dict[str, Any]) -> None:
    """Hand this worker's files to Ray Train, which puts those of all workers into one folder of the run."""
    import ray.train

    mine = any(path.is_file() for path in folder.rglob("*"))
    checkpoint = ray.train.Checkpoint.from_directory(str(folder)) if mine else None
    ray.train.report(metrics, checkpoint=checkpoint)


def fetch(folder: Path, wanted: Callable[[str], bool]) -> bool:
    """Copy the wanted files of the run's last checkpoint into `folder`; False when there is no checkpoint."""
    import pyarrow.fs
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return False
    store, root = checkpoint.filesystem, checkpoint.path
    for entry in store.get_file_info(pyarrow.fs.FileSelector(root, recursive=True)):
        name = posixpath.relpath(entry.path, root)
        if entry.type != pyarrow.fs.FileType.File or not wanted(posixpath.basename(name)):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.fs.copy_files(entry.path, str(target), source_filesystem=store, destination_filesystem=_local())
    return True


def _local() -> Any:
    import pyarrow.fs

    return pyarrow.fs.LocalFileSystem()
