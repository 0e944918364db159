"""Shows how far a download is, on stderr: a bar on a terminal, a line every some seconds elsewhere."""

import sys
import time
from typing import Any, Self

FIRST_LINE_S = 2.0
"""Seconds before the first line, where stderr is no terminal: what is quicker needs none."""
LINE_S = 10.0
"""Seconds between two lines."""


class DownloadDisplay:
    """Follows a download of `total` bytes, of which `done` are there already; a context manager."""

    def __init__(self, what: str, total: int | None, done: int, *, show: bool) -> None:
        self._what, self._total, self._first, self._done = what, total, done, done
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
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, done: int) -> None:
        """So many bytes are there now."""
        self._done = done
        if self._progress is not None:
            self._progress.update(self._task, completed=done)
        elif self._lines and time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + LINE_S
            print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        rate = (self._done - self._first) / max(time.monotonic() - self._started_at, 1e-9)
        total = "" if self._total is None else f" of {_bytes(self._total)}"
        return f"{self._what}  {_bytes(self._done)}{total}  {_bytes(int(rate))}/s"


def _bytes(count: int) -> str:
    """Such as `14.1 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
