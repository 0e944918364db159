"""Checkpoints between a worker's disk and the run's storage: each worker moves only what is its own."""

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakescan.storage.store import Store


def report(folder: Path, metrics: dict[str, Any]) -> None:
    """Hand this worker's files to Ray Train, which puts those of all workers into one folder of the run."""
    import ray.train

    has_files = any(path.is_file() for path in folder.rglob("*"))
    checkpoint = ray.train.Checkpoint.from_directory(str(folder)) if has_files else None
    ray.train.report(metrics, checkpoint=checkpoint)


def fetch(folder: Path, wanted: Callable[[str], bool]) -> bool:
    """Copy the wanted files of the run's last checkpoint into `folder`; False when there is no checkpoint."""
    import pyarrow.fs
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return False
    fs, root, local = checkpoint.filesystem, checkpoint.path, pyarrow.fs.LocalFileSystem()
    for entry in fs.get_file_info(pyarrow.fs.FileSelector(root, recursive=True)):
        name = posixpath.relpath(entry.path, root)
        if entry.type != pyarrow.fs.FileType.File or not wanted(posixpath.basename(name)):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.fs.copy_files(entry.path, str(target), source_filesystem=fs, destination_filesystem=local)
    return True


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
