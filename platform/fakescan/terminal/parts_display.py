"""Shows how far work on the parts of a run is: a bar, parts per second and the time left."""

import time
from typing import TextIO

from fakescan.terminal.duration import duration
from fakescan.terminal.live_display import BarDisplay
from fakescan.terminal.pace import Pace

SHOWN_FROM = 2_000
"""Parts from which on it takes so long that it is shown."""


class PartsDisplay(BarDisplay):
    """Follows work on parts on stderr, where they are many. Use it as a context manager."""

    def __init__(self, what: str, total: int, *, show: bool = True, stream: TextIO | None = None) -> None:
        super().__init__(total, unit="parts", stream=stream)
        self.is_shown = show and total >= SHOWN_FROM
        self._what, self._started = what, time.monotonic()
        self._pace = Pace(self._started)

    def known(self, parts: int) -> None:
        """So many were done before."""
        with self._lock:
            self._done += parts
            self._pace = Pace(time.monotonic())

    def add(self, parts: int) -> None:
        """So many more are done."""
        with self._lock:
            self._pace.add(time.monotonic(), parts)
        self._show(self._done + parts)

    def _text(self) -> str:
        now = time.monotonic()
        rate, left = self._pace.rate, self._total - self._done
        seconds = self._pace.left(left, now) if left > 0 else None
        words = [self._what, f"{rate:,.0f} parts/s" if rate is not None else ""]
        words += [f"ETA {duration(max(seconds, 1.0))}" if seconds is not None else ""]
        return "  ".join(word for word in (*words, f"elapsed {duration(now - self._started)}") if word)

    def _line(self) -> str:
        return f"{self._done:,}/{self._total:,} parts  {self._text()}"
