"""Shows the progress of a running scan."""

import time
from collections import deque
from typing import TextIO

from fakescan.run.counts import Counts
from fakescan.scan.tables import PartSummary
from fakescan.terminal.duration import duration
from fakescan.terminal.live_display import LiveDisplay

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


class Display(LiveDisplay):
    """Follows a scan on stderr. Use it as a context manager."""

    def __init__(self, total: int, done_before: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._before = done_before
        self._counts = Counts()
        self._pace = Pace()
        self._note = "starting engines"
        super().__init__(total, done=done_before, stream=stream)

    def add(self, part: PartSummary) -> None:
        """Count a written part in."""
        self._note = ""
        self._counts.add(part.counts)
        self._pace.add(part.written_at, part.counts.rows)
        self._show(self._before + self._counts.rows)

    def _line(self) -> str:
        return f"{self._before + self._counts.rows:,}/{self._total:,}  {self._text()}"

    def _text(self) -> str:
        return f"{self._pace_text()}  {self._counts_text()}"

    def _pace_text(self) -> str:
        rate = self._pace.rate(time.time())
        if rate is None:
            return self._note or "measuring the pace"
        left = (self._total - self._before - self._counts.rows) / max(rate, 1e-9)
        return f"{rate:.1f} img/s  ETA {duration(left)}"

    def _counts_text(self) -> str:
        counts = self._counts
        text = f"real {counts.real:,}  fake {counts.fake:,}  uncertain {counts.uncertain:,}  errors {counts.failed:,}"
        by_code = ", ".join(f"{code} {count:,}" for code, count in counts.most_common())
        return f"{text} ({by_code})" if by_code else text
