"""Uploads of one worker's checkpoints: one at a time and in their order, while the training goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from fakescan.errors import JobFailedError
from fakescan.storage.objects import put_file
from fakescan.storage.store import is_local
from fakescan.train.checkpoints.room import StagingFolder, folder_bytes, free_bytes, lack_of_room, size_text
from fakescan.train.checkpoints.stored import checkpoint_name

_AGREE_S = 60.0
"""Seconds after which workers that wait for uploads hear of each other: torch lets none wait longer than half an hour
for another one."""
_LOOK_S = 15.0
"""Seconds after which a worker that uploads looks at the lease again."""


class Uploads:
    """The checkpoints of one worker on their way to the run's folder.

    A checkpoint is first put together on the worker's own disk, which is all that the training waits for. Ray Train
    lists it once all workers have uploaded their parts; what is not listed is no checkpoint, and is deleted by the next
    start of the command.

    `sharers` workers write to this one's disk at the same time, of `workers` in all. `may_write`: whether the run is
    still this training's. `pending_workers`: how many of all workers have an upload under way, given 1 for this one or
    0. `on_failure` is called on the thread that uploads, `on_stored` with the seconds since the checkpoint was begun.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        path: str,
        *,
        sharers: int,
        workers: int,
        may_write: Callable[[], bool],
        pending_workers: Callable[[float], float],
        on_failure: Callable[[Exception], None],
        on_stored: Callable[[float], None],
    ) -> None:
        self._fs, self._path = fs, path
        self._sharers, self._workers = sharers, workers
        self._may_write, self._pending_workers = may_write, pending_workers
        self._on_failure, self._on_stored = on_failure, on_stored
        self._idle = threading.Event()
        self._idle.set()
        self._failure: Exception | None = None
        self._bytes = 0
        """Of this worker's part of the last checkpoint."""

    def wait(self) -> None:
        """Return when the uploads of all workers are done. Raises what this worker's has failed with."""
        while True:
            self._idle.wait(_AGREE_S)
            if self._failure is not None:
                raise self._failure
            if not self._pending_workers(0.0 if self._idle.is_set() else 1.0):
                return

    @contextmanager
    def checkpoint(self, metrics: dict[str, Any]) -> Iterator[Path]:
        """A folder for this worker's part of a checkpoint; what it holds in the end is uploaded.

        All workers call it, after `wait`. `metrics` has the step; Ray Train lists them with the checkpoint. Raises
        JobFailedError where a disk has no room for as much as the last checkpoint was.
        """
        assert self._idle.is_set()
        self._check_room()
        began = time.monotonic()
        staging = StagingFolder()
        try:
            yield staging.path
            self._bytes = folder_bytes(staging.path)
        except BaseException:
            staging.remove()
            raise
        self._send(staging, metrics, began)

    def _send(self, staging: StagingFolder, metrics: dict[str, Any], began: float) -> None:
        import ray.train
        from ray.train import CheckpointUploadMode

        def upload(checkpoint: Any, name: str) -> Any:
            if self._failure is not None:  # Ray tries again what it takes for weather
                raise self._failure
            try:
                self._put(staging.path, f"{self._path}/{name}")
            except Exception as error:
                self._failure = error
                self._on_failure(error)
                raise
            finally:
                staging.remove()
                self._idle.set()
            self._on_stored(time.monotonic() - began)
            storage = ray.train.get_context().get_storage()
            return ray.train.Checkpoint(f"{storage.experiment_fs_path}/{name}", storage.storage_filesystem)

        self._idle.clear()
        ray.train.report(
            metrics,
            checkpoint=ray.train.Checkpoint.from_directory(str(staging.path)),
            checkpoint_dir_name=checkpoint_name(metrics["step"]),
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=False,
            checkpoint_upload_fn=upload,
        )

    def _put(self, folder: Path, target: str) -> None:
        looked_at = float("-inf")
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            if time.monotonic() - looked_at > _LOOK_S:
                if not self._may_write():
                    raise JobFailedError("another training has taken this run over; this one stops")
                looked_at = time.monotonic()
            put_file(self._fs, f"{target}/{file.relative_to(folder).as_posix()}", file)

    def _check_room(self) -> None:
        """Of a checkpoint that is as large as the last one. Before the first one there are the estimates."""
        lack = lack_of_room(self._bytes * self._sharers, "a checkpoint is put together in")
        needed = self._bytes * self._workers
        if lack is None and is_local(self._fs):
            place, free = free_bytes(Path(self._path))
            if needed > free:
                lack = (
                    f"storage_path: the next checkpoint takes about {size_text(needed)}, {place} has {size_text(free)} "
                    "free; free some room, or lower keep"
                )
        if lack is not None:
            raise JobFailedError(f"{lack}; the same command resumes")
