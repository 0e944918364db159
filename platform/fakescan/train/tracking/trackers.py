"""The trackers of a run, each on a thread of its own: whatever one does, the training goes on."""

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem

from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.url import redact_text
from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking.tracker import Ending, Opened, TrackedRun, Tracker

logger = logging.getLogger(__name__)

IDS = "trackers.json"
"""File of a run's folder with the ids of the run at its trackers."""
LAST_S = 60.0
"""Seconds that a tracker has at the end to take the rest."""

_FIRST_PAUSE_S, _MAX_PAUSE_S = 2.0, 60.0
_MESSAGE = 200
"""Characters of another library's words in a line."""


class Restart(NamedTuple):
    """A new start of the workers."""

    step: int
    """From which they go on."""
    restarts: int
    why: str


class TrackerIds:
    """The ids by which a run is known to its trackers, in its folder."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._fs, self._path = fs, f"{path}/{IDS}"
        self._lock = threading.Lock()

    def read(self) -> dict[str, str]:
        """By name of the tracker. A file that cannot be read is none."""
        with suppress(FileNotFoundError, ValueError):
            found = json.loads(read_bytes(self._fs, self._path))
            return {str(name): str(id) for name, id in found.items()} if isinstance(found, dict) else {}
        return {}

    def add(self, name: str, id: str) -> None:
        """Write one down."""
        with self._lock:
            ids = self.read()
            if ids.get(name) != id:
                put_atomic(self._fs, self._path, (json.dumps({**ids, name: id}, indent=1) + "\n").encode())


class Trackers:
    """All of a run. A tracker that fails is said once, and tried again until the end; it gets what it has missed."""

    def __init__(self, trackers: Sequence[Tracker], run: TrackedRun, ids: TrackerIds) -> None:
        self._threads = [_TrackerThread(tracker, run, ids) for tracker in trackers]

    def start(self) -> None:
        """Begin the run at each of them, or go on with it."""
        for thread in self._threads:
            thread.start()

    def publish(self, log: Sequence[StepMetrics]) -> None:
        """Tell them the run's log, from its first step on; it is not changed any more."""
        for thread in self._threads:
            thread.publish(log)

    def restarted(self, restart: Restart) -> None:
        """Tell them of a new start of the workers."""
        for thread in self._threads:
            thread.add_restart(restart)

    def close(self, ending: Ending, facts: Mapping[str, Any]) -> None:
        """End the run at each of them; waits for what they have not taken yet, `LAST_S` at most."""
        deadline = time.monotonic() + LAST_S
        for thread in self._threads:
            thread.end(ending, facts, deadline)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()) + 1.0)
            thread.say_missing()

    @property
    def places(self) -> list[str]:
        """Where a person sees the run, one line for each tracker."""
        return [f"{thread.name}: {thread.place}" for thread in self._threads if thread.place]


class _TrackerThread(threading.Thread):
    """One tracker and what it is to be told."""

    def __init__(self, tracker: Tracker, run: TrackedRun, ids: TrackerIds) -> None:
        super().__init__(name=tracker.name, daemon=True)
        self.place = ""
        self._tracker, self._run, self._ids = tracker, run, ids
        self._log: Sequence[StepMetrics] = ()
        self._restarts: list[Restart] = []
        self._ending: tuple[Ending, Mapping[str, Any]] | None = None
        self._deadline = float("inf")
        self._opened: Opened | None = None
        self._sent = 0
        self._is_said = self._is_done = False
        self._changed, self._ended = threading.Event(), threading.Event()

    def publish(self, log: Sequence[StepMetrics]) -> None:
        self._log = log
        self._changed.set()

    def add_restart(self, restart: Restart) -> None:
        self._restarts.append(restart)
        self._changed.set()

    def end(self, ending: Ending, facts: Mapping[str, Any], deadline: float) -> None:
        self._ending, self._deadline = (ending, facts), deadline
        self._ended.set()
        self._changed.set()

    def say_missing(self) -> None:
        """Say what it has not taken in the end."""
        if self._is_done:
            return
        missing = sum(entry.step > self._sent for entry in self._log)
        logger.warning("trackers: %s has not taken the end of the run; %d steps are not there", self.name, missing)

    def run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._is_done:
            try:
                self._tell()
            except Exception as error:  # noqa: BLE001 - services and their clients raise what they like
                self._say(error)
                self._ended.wait(pause)
                pause = min(2 * pause, _MAX_PAUSE_S)
                if self._ended.is_set():  # a few more tries
                    pause = _FIRST_PAUSE_S
                    if time.monotonic() + pause > self._deadline:
                        return
                    time.sleep(pause)
                continue
            pause = _FIRST_PAUSE_S
            if not self._is_done:
                self._changed.wait()

    def _tell(self) -> None:
        self._changed.clear()
        if self._opened is None:
            self._opened = self._tracker.open(self._run, self._ids.read().get(self.name))
            self._sent, self.place = self._opened.last_step, redact_text(self._opened.place)
            self._ids.add(self.name, self._opened.id)
            logger.info("%s: %s", self.name, self.place)
        fresh = [entry for entry in self._log if entry.step > self._sent]
        if fresh:
            self._tracker.log(fresh)
            self._sent = fresh[-1].step
        while self._restarts:
            step, restarts, why = self._restarts[0]
            self._tracker.restarted(step, restarts, why)
            self._restarts.pop(0)
        if self._ending is not None and not self._changed.is_set():
            self._tracker.close(*self._ending)
            self._is_done = True

    def _say(self, error: Exception) -> None:
        if self._is_said:
            logger.info("trackers: %s: %s", self.name, error)
            return
        self._is_said = True
        text = redact_text(f"{type(error).__name__}: {error}")[:_MESSAGE]
        logger.warning(
            "trackers: %s does not take what it is told (%s); the training goes on without it, and it is asked again",
            self.name, text,
        )  # fmt: skip
