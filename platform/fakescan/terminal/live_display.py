"""Shows the progress of something long: a live display on a terminal, a line now and then elsewhere."""

import contextlib
import io
import os
import sys
import threading
import time
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from fakescan.terminal.console import console_on, hide_display, show_display
from fakescan.terminal.json_logs.output import json_output, stderr_for

LINE_S = 5.0
"""Seconds between two lines when the output is not a terminal."""
BAR_CELLS = 32
_REFRESHES = 4
"""Frames per second."""


class LiveDisplay:
    """Follows something on stderr. Use it as a context manager; subclasses say what there is to say.

    It writes to stderr by a descriptor of its own, so that `cluster.connect` may silence the other one while it is
    shown. Without `show` it says nothing.
    """

    def __init__(self, *, show: bool = True, stream: TextIO | None = None) -> None:
        self.is_shown = show
        self._stream = stream
        self._own_stream: TextIO | None = None
        self._console: Console | None = None
        self._live: Live | None = None
        self._lock = threading.RLock()
        """Held while what is shown changes and while it is read."""
        self._said = ""
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if not self.is_shown:
            return self
        self._own_stream = _own_stderr() if self._stream is None else None
        console = self._console = console_on(self._stream or self._own_stream or sys.stderr)
        show_display(console)
        if console.is_interactive:
            self._live = Live(
                get_renderable=self._locked_frame,
                console=console,
                refresh_per_second=_REFRESHES,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        console, self._console = self._console, None
        if console is None:
            return
        try:
            if self._live is not None:
                self._live.stop()
        finally:
            if self._live is not None:
                console.show_cursor(True)  # whatever interrupted the line above
            hide_display(console)
            if self._own_stream is not None:
                self._own_stream.close()

    @property
    def _is_live(self) -> bool:
        return self._live is not None

    def _refresh(self) -> None:
        """Show at once what has changed, on a terminal."""
        if self._live is not None:
            self._live.refresh()

    def _say_when_due(self, seconds: float = LINE_S) -> None:
        """Print a line where there is no terminal, if the last one is so long ago."""
        if time.monotonic() - self._said_at >= seconds:
            self._say()

    def _say(self) -> None:
        """Print a line where there is no terminal, unless it is the same again."""
        console = self._console
        if console is None or self._live is not None:
            return
        with self._lock:
            line = self._line()
            self._said_at = time.monotonic()
            if line != self._said:
                self._said = line
                console.print(line, soft_wrap=True)

    def _locked_frame(self) -> RenderableType:
        with self._lock:
            return self._frame()

    def _frame(self) -> RenderableType:
        """What a terminal shows."""
        raise NotImplementedError

    def _line(self) -> str:
        """A line of its own, where there is no terminal."""
        raise NotImplementedError

    def _bar(self, done: int, total: int, unit: str = "") -> Text:
        """A bar, the numbers beside it, and the full percents."""
        console = self._console
        is_utf = console is None or console.encoding.startswith("utf")
        numbers = f"{done:,}/{total:,}"
        percent = f"{100 * done // total if total else 100} %"
        words = "  ".join(word for word in (numbers, unit, percent) if word)
        width = console.width if console is not None else 80
        cells = max(0, min(BAR_CELLS, width - len(words) - 3))
        full = cells * done // total if total else cells
        bar = ("━" if is_utf else "#") * full, ("┄" if is_utf else ".") * (cells - full)
        return Text.assemble((bar[0], "bar.complete"), (bar[1], "dim"), f"  {words}")


class BarDisplay(LiveDisplay):
    """Follows something whose steps are counted: a bar, and a line of text below it."""

    def __init__(self, total: int, *, done: int = 0, unit: str = "", stream: TextIO | None = None) -> None:
        super().__init__(stream=stream)
        self._total, self._done, self._unit = total, done, unit

    def __enter__(self) -> Self:
        super().__enter__()
        self._say()
        return self

    def __exit__(self, *exception: object) -> None:
        self._say()
        super().__exit__(*exception)

    def _show(self, done: int, *, at_once: bool = False) -> None:
        """So much is done now; `at_once` has a line of its own, however short ago the last one was."""
        self._done = done
        if at_once:
            self._say()
        else:
            self._say_when_due()

    def _frame(self) -> RenderableType:
        return Text("\n").join([self._bar(self._done, self._total, self._unit), Text(self._text())])

    def _text(self) -> str:
        """The text below the bar."""
        raise NotImplementedError


def _own_stderr() -> TextIO | None:
    """stderr by a descriptor of its own, or as lines of JSON; None where it has none."""
    if json_output() is not None:
        return stderr_for("fakescan.progress")
    with contextlib.suppress(OSError, ValueError, AttributeError, io.UnsupportedOperation):
        sys.stderr.flush()
        descriptor = os.dup(sys.stderr.fileno())
        errors = sys.stderr.errors or "backslashreplace"
        return open(descriptor, "w", encoding=sys.stderr.encoding, errors=errors, buffering=1)
    return None
