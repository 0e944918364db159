"""A run's log as it grows in the run's folder: metrics.jsonl, metrics.png and TensorBoard's files."""

import logging
import posixpath
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fakescan.storage.objects import list_names, patiently, put_atomic
from fakescan.storage.store import is_local
from fakescan.storage.url import redact
from fakescan.train.folder import TENSORBOARD, TrainFolder
from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking.event_file import PREFIX, SUFFIX, EventFile, is_event_file

logger = logging.getLogger(__name__)


class LiveLog:
    """TensorBoard's file grows with every step on a local disk; in a store it is written again with each `save`.

    `scratch` is a local folder for the file in the second case. `add` and `flush` are called on one thread.
    """

    def __init__(self, folder: TrainFolder, scratch: Path) -> None:
        self._folder = folder
        self._at = posixpath.join(folder.path, TENSORBOARD)
        self._is_local = is_local(folder.fs)
        self._place = Path(self._at) if self._is_local else scratch
        self._entries: list[StepMetrics] = []
        self._written = 0
        self._events: EventFile | None = None
        self._is_said = self._is_tidy = False

    def add(self, entries: Sequence[StepMetrics]) -> None:
        """Take in steps that were made, those of earlier starts first; they are written by the next `flush`."""
        self._entries += entries

    def flush(self) -> None:
        """Append to TensorBoard's file. A disk that takes nothing is said once, and the training goes on."""
        if self._written == len(self._entries):
            return
        try:
            if self._events is None:
                self._events = EventFile(self._place / f"{PREFIX}{int(time.time())}{SUFFIX}")
            self._events.add(self._entries[self._written :])
        except OSError as error:
            if not self._is_said:
                logger.warning("TensorBoard's file could not be written: %s", error.strerror)
            self._is_said = True
            self._events, self._written = None, 0  # its end may be half an entry: another file is begun
            return
        self._written = len(self._entries)

    def save(self, log: list[StepMetrics]) -> None:
        """Write the log as a whole. Raises OSError."""
        self._folder.save(log)
        events = self._events
        if events is None:
            return
        name = events.path.name
        if not self._is_local:
            put_atomic(self._folder.fs, f"{self._at}/{name}", events.path.read_bytes())
        if not self._is_tidy:
            self._delete_earlier(name)
            self._is_tidy = True

    def _delete_earlier(self, own: str) -> None:
        """Delete the files of earlier starts: all that they hold is in this one as well."""
        fs = self._folder.fs
        for name, _ in list_names(fs, self._at):
            if is_event_file(name) and name != own:
                path = f"{self._at}/{name}"
                patiently(partial(fs.rm_file, path), f"deleting {redact(path)}")
