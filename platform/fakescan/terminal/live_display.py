"""Shows the progress of something long: a live display on a terminal, a line every few seconds elsewhere."""

import sys
import time
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

LINE_S = 5.0
"""Seconds between two lines when the output is not a terminal."""


class LiveDisplay:
    """Follows something on stderr. Use it as a context manager; subclasses say what there is to say."""

    def __init__(self, total: int, *, done: int = 0, unit: str = "", stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._said_at = 0.0
        self._live: Live | None = None
        if self._console.is_terminal:
            percent = TextColumn(f"{unit} {{task.percentage:.0f}} %".strip())
            self._progress = Progress(BarColumn(bar_width=32), MofNCompleteColumn(), percent)
            self._task = self._progress.add_task("all", total=total, completed=done)
            self._live = Live(get_renderable=self._frame, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        else:
            self._say()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._say()

    def _show(self, done: int, *, at_once: bool = False) -> None:
        """So much is done now; `at_once` has a line of its own, however short ago the last one was."""
        if self._live is not None:
            self._progress.update(self._task, completed=done)
        elif at_once or time.monotonic() - self._said_at >= LINE_S:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        self._console.print(self._line(), soft_wrap=True)

    def _frame(self) -> Table:
        frame = Table.grid()
        frame.add_row(self._progress)
        frame.add_row(Text(self._text()))
        return frame

    def _line(self) -> str:
        """A line of its own."""
        raise NotImplementedError

    def _text(self) -> str:
        """The text below the bar."""
        raise NotImplementedError
