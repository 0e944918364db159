"""How far the opening of a checkpoint is: for whoever listens, and on stderr as a bar or as a line now and then."""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

FIRST_LINE_S = 2.0
"""Seconds before the first line, where stderr is no terminal: what is quicker needs none."""
LINE_S = 10.0
"""Seconds between two lines."""


class Step(NamedTuple):
    """What is being done to a checkpoint or an engine that starts, and how many bytes of it are done."""

    what: str
    """Such as `downloading owner/name`."""
    done: int = 0
    total: int | None = None
    """Bytes in all; None where nobody knows, or where there is nothing to count."""

    def __str__(self) -> str:
        if not self.done and not self.total:
            return self.what
        return f"{self.what}  {in_bytes(self.done)}{'' if self.total is None else f' of {in_bytes(self.total)}'}"


Report = Callable[[Step], None]
"""Hears of every step as it begins, and several times a second of how far it is."""


class BytesProgress:
    """Follows a step of `total` bytes, of which `done` are there already; a context manager."""

    def __init__(self, what: str, total: int | None, done: int, *, show: bool, report: Report | None = None) -> None:
        self._what, self._total, self._first, self._done = what, total, done, done
        self._report = report
        self._started_at = time.monotonic()
        self._say_at = self._started_at + FIRST_LINE_S
        self._lines = show and not sys.stderr.isatty()
        self._progress: Any = None
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as SpeedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn())
            console = Console(file=sys.stderr, highlight=False, markup=False)
            self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._task = self._progress.add_task(what, total=total, completed=done)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        self._tell()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, done: int) -> None:
        """So many bytes are there now."""
        self._done = done
        self._tell()
        if self._progress is not None:
            self._progress.update(self._task, completed=done)
        elif self._lines and time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + LINE_S
            print(self._line(), file=sys.stderr, flush=True)

    def _tell(self) -> None:
        if self._report is not None:
            self._report(Step(self._what, self._done, self._total))

    def _line(self) -> str:
        rate = (self._done - self._first) / max(time.monotonic() - self._started_at, 1e-9)
        return f"{Step(self._what, self._done, self._total)}  {in_bytes(int(rate))}/s"


def in_bytes(count: int) -> str:
    """Such as `14.1 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
