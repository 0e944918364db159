"""Counts something long on stderr."""

import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fakescan.terminal.console import console_on
from fakescan.terminal.json_logs.output import stderr_for
from fakescan.terminal.live_display import LINE_S


class Counting:
    """How far a check is, on stderr: a bar on a terminal, a line every few seconds elsewhere. A context manager."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._count = what, total, 0
        self._console = console_on(stderr_for("fakescan.progress"))
        self._said_at = 0.0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> "Counting":
        if self._console.is_interactive:
            self._progress.start()
        else:
            self._say()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_interactive:
            self._progress.stop()

    def one_more(self) -> None:
        """Count one."""
        self._count += 1
        if self._console.is_interactive:
            self._progress.advance(self._task)
        elif time.monotonic() - self._said_at >= LINE_S:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        self._console.print(f"{self._what} {self._count:,}/{self._total:,}", soft_wrap=True)
