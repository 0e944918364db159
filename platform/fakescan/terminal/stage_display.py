"""Says what a command is doing: a spinner on a terminal; elsewhere a line at each stage and one now and then."""

import threading
import time
from collections.abc import Callable
from typing import Self, TextIO

from rich.console import RenderableType
from rich.spinner import Spinner
from rich.text import Text

from fakescan.terminal.duration import duration
from fakescan.terminal.live_display import LiveDisplay

EARLY_LINES_S = 15.0
"""Seconds between two lines in the first minutes, where there is no terminal."""
LATER_LINES_S = 30.0
_EARLY_S = 300.0
_BRIEF_S = 3.0
"""Seconds after which a brief stage has its line."""
_TICK_S = 1.0

Count = Callable[[], int]
"""How many there are by now. Called from another thread."""


class StageDisplay(LiveDisplay):
    """Follows a command from stage to stage, each with the time that it has taken. Use it as a context manager."""

    def __init__(self, *, show: bool = True, stream: TextIO | None = None) -> None:
        super().__init__(show=show, stream=stream)
        self._started = self._stage_at = self._said_at = time.monotonic()
        self._stage = "starting"
        self._count: Count | None = None
        self._detail = ""
        """How far the stage is, where it says so in words of its own."""
        self._is_unsaid = False
        self._spinner: Spinner | None = None
        self._waiting: list[str] = []
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        super().__enter__()
        if self._console is not None and not self._is_live:
            threading.Thread(target=self._say_now_and_then, name="display", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        super().__exit__(*exception)

    def stage(self, what: str, count: Count | None = None, *, is_brief: bool = False) -> None:
        """This is done now; `count` says of how many objects it has heard.

        Where there is no terminal, a brief stage has no line unless it takes some seconds: so a command that is refused
        says only that.
        """
        with self._lock:
            self._set_stage(what, count)
            self._is_unsaid = is_brief
        self._show_stage()

    def listing(self, count: Count) -> None:
        """A source is being listed."""
        self.stage("listing the source", count, is_brief=True)

    def waiting(self, texts: list[str]) -> None:
        """This is waited for now, as whole sentences; a line of its own says it when it begins and when it ends."""
        with self._lock:
            has_changed = bool(texts) != bool(self._waiting)
            self._waiting = texts
        if has_changed:
            self._show_stage()

    def _set_stage(self, what: str, count: Count | None = None) -> None:
        if what != self._stage:
            self._stage, self._stage_at = what, time.monotonic()
        self._count, self._detail = count, ""

    def _show_stage(self) -> None:
        """Not to be called with the lock: a live display asks for its frame with a lock of its own."""
        self._refresh()
        if not self._is_unsaid:
            self._say()

    def _say_now_and_then(self) -> None:
        while not self._ended.wait(_TICK_S):
            now = time.monotonic()
            if self._is_unsaid and now - self._stage_at >= _BRIEF_S:
                self._is_unsaid = False
                self._say()
            self._say_when_due(EARLY_LINES_S if now - self._started < _EARLY_S else LATER_LINES_S)

    def _frame(self) -> RenderableType:
        return Text("\n").join([self._stage_frame(), *self._waiting_frames()])

    def _line(self) -> str:
        return f"{self._stage_text()}{self._waiting_text()}"

    def _waiting_frames(self) -> list[Text]:
        return [Text(text, "warning") for text in self._waiting]

    def _waiting_text(self) -> str:
        return "".join(f"  {text}" for text in self._waiting)

    def _stage_frame(self) -> Text:
        if self._spinner is None:
            is_utf = self._console is not None and self._console.encoding.startswith("utf")
            self._spinner = Spinner("dots" if is_utf else "line")
        turn = self._spinner.render(time.monotonic())
        assert isinstance(turn, Text)
        return Text.assemble(turn, " ", self._stage_text())

    def _stage_text(self) -> str:
        now = time.monotonic()
        count = self._count() if self._count is not None else 0
        text = f"{self._stage}: {count:,} objects" if count else self._stage
        if self._detail:
            text = f"{text}: {self._detail}"
        seconds, whole = now - self._stage_at, now - self._started
        if seconds < 1 and not self._is_live:
            return text
        more = f"; {duration(whole)} since the start" if whole - seconds >= 1 else ""
        return f"{text} ({duration(seconds)}{more})"
