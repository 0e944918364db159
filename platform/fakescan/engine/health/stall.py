"""Notices an engine that has requests and gives no output."""

import threading
import time
from collections.abc import Callable

from fakescan.engine.contract import STALL

MAX_TICK_S = 5.0
"""Most seconds between two looks."""


class StallWatch:
    """A thread of its own that calls `on_stall` once, when the engine was silent for `stall_s` with requests in it.

    The engine says `busy` as it gets work, `alive` with every output, and `idle` when nothing is in it any more. Only
    time in which this thread ran counts: a process that was stopped and goes on has not been silent meanwhile.
    """

    def __init__(self, stall_s: float | None, on_stall: Callable[[str], None], *, name: str = "engine-watch") -> None:
        self._on_stall = on_stall
        self._stall_s = stall_s
        self._is_busy = False
        self.beats = 0
        """Signs of life so far."""
        self._closed = threading.Event()
        if stall_s is not None:
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def busy(self) -> None:
        """The engine has work from now on."""
        if not self._is_busy:
            self.beats += 1
            self._is_busy = True

    def alive(self) -> None:
        """The engine gave an output, or ended a step."""
        self.beats += 1

    def idle(self) -> None:
        """The engine has no work."""
        self._is_busy = False

    def allow(self, seconds: float) -> None:
        """Wait for at least so long, because the engine is known to be slow."""
        if self._stall_s is not None:
            self._stall_s = max(self._stall_s, seconds)

    def close(self) -> None:
        """End the watch."""
        self._closed.set()

    def _run(self) -> None:
        assert self._stall_s is not None
        tick = min(MAX_TICK_S, self._stall_s / 4)
        silent_s, beats, last = 0.0, self.beats, time.monotonic()
        while not self._closed.wait(tick):
            now = time.monotonic()
            passed, last = min(now - last, 2 * tick), now
            if not self._is_busy or self.beats != beats:
                silent_s, beats = 0.0, self.beats
                continue
            silent_s += passed
            if silent_s >= self._stall_s:
                self._on_stall(f"{STALL} {self._stall_s:.0f} s with requests in the engine (stall_s)")
                return
