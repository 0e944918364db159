"""Shows the progress of a running scan."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import RenderableType
from rich.text import Text

from fakescan.run.counts import Counts, outcome_words
from fakescan.scan.engines.stages import UNKNOWN_STAGE, Stage
from fakescan.scan.ledger_follower import asking
from fakescan.scan.tables import PartSummary
from fakescan.terminal.duration import duration
from fakescan.terminal.pace import Pace
from fakescan.terminal.stage_display import Count, StageDisplay
from fakevlm.reading import Meaning

_MIN_PAUSE_S = 15.0
"""Seconds without a part of which nobody is told that they are a pause."""
_LOOK_S = 0.5
"""Seconds between two looks at how far the engines are."""
_ANSWER_S = 5.0
"""Seconds in which the ledger must say it."""


class ScanDisplay(StageDisplay):
    """Follows a scan on stderr, from its first check to its end. Use it as a context manager."""

    def __init__(self, *, show: bool = True, stream: TextIO | None = None) -> None:
        super().__init__(show=show, stream=stream)
        self._total: int | None = None
        self._before = self._done = self._said_done = 0
        self._counts = Counts()
        self._meaning: Meaning | None = None
        self._pace = Pace(self._started)
        self._is_scanning = False
        self._engines_awaited = "waiting for the engine's process"
        self._engine_stage = UNKNOWN_STAGE

    def __exit__(self, *exception: object) -> None:
        self._end_scanning()
        super().__exit__(*exception)

    @property
    def position(self) -> str | None:
        """How far the scan has come, such as `1,024 of 4,096 rows`; None before its rows are known."""
        with self._lock:
            return None if self._total is None else f"{self._before + self._done:,} of {self._total:,} rows"

    def waiting_for(self, what: str) -> None:
        """What a scan that has begun waits for until its first engine loads."""
        self._engines_awaited = what

    def begin(self, total: int, done: int, meaning: Meaning | None = None) -> None:
        """The run has `total` rows, earlier scans have done some of them, and its verdicts mean that."""
        with self._lock:
            self._total, self._before, self._meaning = total, done, meaning
            self._pace = Pace(time.monotonic())
        self.stage(self._engines_awaited)

    @contextmanager
    def following(self, ledger: Any) -> Iterator[None]:
        """Shows meanwhile how far the engines are, as the scan's ledger knows it, until one is loaded."""
        if not self.is_shown:
            yield
            return
        with asking(
            lambda: [ledger.engines.remote(), ledger.stage.remote()],
            self._look,
            name="engines",
            every_s=_LOOK_S,
            answer_s=_ANSWER_S,
        ):
            yield

    def _look(self, engines: tuple[int, int], stage: Stage) -> bool:
        loading, loaded = engines
        self.engine_stage(stage)
        self.engines(loading, loaded)
        return not loaded

    def engine_stage(self, stage: Stage) -> None:
        """The engines that have not started yet are doing this; shown from the next call of `engines` on."""
        with self._lock:
            self._engine_stage = stage

    def engines(self, loading: int, loaded: int) -> None:
        """So many engines have begun to load, and so many are loaded."""
        with self._lock:
            stage = self._engine_stage
            what = "judging the first images" if loaded else (stage.what or "loading the engine") if loading else ""
            if self._is_scanning or not what:
                return
            is_new = what != self._stage
            if is_new:
                self._set_stage(what)
            self._detail = "" if loaded else stage.detail
            if not is_new:
                return
            if loaded:
                self._pace.restart(time.monotonic())
        self._show_stage()

    def add(self, part: PartSummary, rows: int) -> None:
        """A part of `rows` rows was written; `part.counts` are those of them that were done now."""
        with self._lock:
            is_first = not self._is_scanning
            self._is_scanning = True
            self._done += rows
            self._counts.add(part.counts)
            self._pace.add(time.monotonic(), rows)
        if is_first:
            self._say()

    def stage(self, what: str, count: Count | None = None, *, is_brief: bool = False) -> None:
        """As in `StageDisplay`; what has been scanned by then has its last line first."""
        self._end_scanning()
        super().stage(what, count, is_brief=is_brief)

    def _end_scanning(self) -> None:
        if self._is_scanning and self._said_done != self._done:
            self._say()
        with self._lock:
            self._is_scanning = False

    def _frame(self) -> RenderableType:
        if self._total is None:
            return super()._frame()
        bar = self._bar(self._before + self._done, self._total)
        below = [Text(self._pace_text()), self._counts_text()] if self._is_scanning else [self._stage_frame()]
        return Text("\n").join([bar, *below, *self._waiting_frames()])

    def _line(self) -> str:
        if self._total is None:
            return super()._line()
        done = f"{self._before + self._done:,}/{self._total:,}"
        if not self._is_scanning:
            return f"{done}  {self._stage_text()}{self._waiting_text()}"
        self._said_done = self._done
        return f"{done}  {self._pace_text()}  {self._counts_text().plain}{self._waiting_text()}"

    def _pace_text(self) -> str:
        now = time.monotonic()
        elapsed = f"elapsed {duration(now - self._started)}"
        rate, left = self._pace.rate, (self._total or 0) - self._before - self._done
        if rate is None:
            return elapsed
        # A part whose errors are scanned again has more rows than are judged.
        speed = f"{rate * self._counts.rows / max(self._done, 1):.1f} img/s"
        if left <= 0:
            return f"{speed}  {elapsed}"
        paused = self._pace.paused(now)
        if paused is not None and paused >= _MIN_PAUSE_S:
            return f"no part for {duration(paused)} ({speed} before)  {elapsed}"
        seconds = self._pace.left(left, now)
        if seconds is None:
            return f"{speed}  {elapsed}"
        return f"{speed}  ETA {duration(max(seconds, 1.0))}  {elapsed}"

    def _counts_text(self) -> Text:
        counts = self._counts
        text = Text("now: " if self._before else "")
        words = [
            Text(f"{name} {count:,}", style if count else "")
            for name, count, style in outcome_words(counts, self._meaning)
        ]
        text.append_text(Text("  ").join(words))
        by_code = ", ".join(f"{code} {count:,}" for code, count in counts.most_common())
        return text.append(f" ({by_code})") if by_code else text
