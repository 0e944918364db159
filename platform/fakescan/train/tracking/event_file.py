"""TensorBoard's files, which grow while a training runs."""

import time
from collections.abc import Sequence
from pathlib import Path

from fakescan.train.metrics_actor import StepMetrics

PREFIX, SUFFIX = "events.out.tfevents.", ".fakescan"


class EventFile:
    """The events of one start of the command, from the run's first step on.

    A step that is not after the one before begins with a mark, at which TensorBoard forgets that step and later ones:
    the workers have been started again, and make them a second time.
    """

    def __init__(self, path: Path) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter

        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(str(path))
        self._last: int | None = None
        self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def add(self, entries: Sequence[StepMetrics]) -> None:
        """Append steps; readers see them at once."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        for entry in entries:
            if self._last is None or entry.step <= self._last:
                mark = SessionLog(status=SessionLog.START)
                self._writer.write(Event(wall_time=entry.at, step=entry.step, session_log=mark).SerializeToString())
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in entry.scalars.items()]
            event = Event(wall_time=entry.at, step=entry.step, summary=Summary(value=values))
            self._writer.write(event.SerializeToString())
            self._last = entry.step
        self._writer.flush()

    def close(self) -> None:
        """No more steps come."""
        self._writer.close()


def is_event_file(name: str) -> bool:
    """Whether a file of this name was written by this class, or its like of an earlier version."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX.removeprefix("."))
