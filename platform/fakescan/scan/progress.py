"""What a person sees of a running scan: one live display on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections import deque
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from fakescan.duration import duration
from fakescan.scan.rows import PartSummary, Tally

LINE_S = 5.0
"""Seconds between two lines when the output is not a terminal."""
_RATE_S = 60.0
"""Seconds over which the pace is averaged."""


class Pace:
    """Images per second over the last minute, from the times at which parts were written."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._rows = 0

    def add(self, at: float, rows: int) -> None:
        """`rows` more were done at Unix time `at`."""
        self._rows += rows
        self._marks.append((at, self._rows))
        while len(self._marks) > 2 and at - self._marks[0][0] > _RATE_S:
            self._marks.popleft()

    def rate(self, now: float) -> float | None:
        """Images per second; None before the second part."""
        if len(self._marks) < 2:
            return None
        (first, before), (_, after) = self._marks[0], self._marks[-1]
        return (after - before) / max(now - first, 1e-9)


class Display:
    """Follows a scan on stderr. Use it as a context manager."""

    def __init__(self, total: int, done_before: int, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._total = total
        self._before = done_before
        self._tally = Tally()
        self._pace = Pace()
        self._said_at = 0.0
        self._note = "starting engines"
        self._live: Live | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=32), MofNCompleteColumn(), TextColumn("{task.percentage:.0f} %")
            )
            self._task = self._progress.add_task("scan", total=total, completed=done_before)
            self._live = Live(get_renderable=self._frame, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "Display":
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

    def add(self, part: PartSummary) -> None:
        """Count a written part in."""
        self._note = ""
        self._tally.add(part)
        self._pace.add(part.written_at, part.rows)
        if self._live is not None:
            self._progress.update(self._task, completed=self._before + self._tally.rows)
        elif time.monotonic() - self._said_at >= LINE_S:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        self._console.print(
            f"{self._before + self._tally.rows:,}/{self._total:,}  {self._pace_text()}  {self._counts()}",
            soft_wrap=True,
        )

    def _frame(self) -> Table:
        frame = Table.grid()
        frame.add_row(self._progress)
        frame.add_row(Text(f"{self._pace_text()}  {self._counts()}"))
        return frame

    def _pace_text(self) -> str:
        rate = self._pace.rate(time.time())
        if rate is None:
            return self._note or "measuring the pace"
        left = (self._total - self._before - self._tally.rows) / max(rate, 1e-9)
        return f"{rate:.1f} img/s  ETA {duration(left)}"

    def _counts(self) -> str:
        tally = self._tally
        text = f"real {tally.real:,}  fake {tally.fake:,}  uncertain {tally.uncertain:,}  errors {tally.failed:,}"
        by_code = ", ".join(f"{code} {count:,}" for code, count in tally.most_common())
        return f"{text} ({by_code})" if by_code else text
