"""The stores that this process waits for, and who is told of it."""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from fakescan.terminal.duration import duration

logger = logging.getLogger(__name__)

RENEW_S = 5.0
"""Seconds after which a wait that goes on is told again."""


class Wait(NamedTuple):
    """One store that is waited for."""

    store: str
    reason: str
    seconds: float
    """How long by now."""

    def __str__(self) -> str:
        return f"waiting for the store: {self.store}: {self.reason}, for {duration(max(self.seconds, 1.0))}"


Listener = Callable[[list[Wait]], None]


class Waits:
    """Which stores are waited for, and why. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[str, tuple[float, str]] = {}
        self._listener: Listener | None = None
        self._renewing = False

    def tell(self, listener: Listener | None) -> None:
        """From now on, call this with all waits whenever that changes, and every `RENEW_S` while there are some."""
        self._listener = listener

    def waiting(self, store: str, reason: str, since: float) -> None:
        """The store has not answered since this moment of the monotonic clock."""
        with self._lock:
            is_new = store not in self._waits
            self._waits[store] = (self._waits[store][0] if not is_new else since, reason)
            starts = not self._renewing
            self._renewing = True
        if is_new:
            logger.warning("waiting for the store: %s: %s", store, reason)
            self._tell()
        if starts:
            threading.Thread(target=self._renew, name="store-waits", daemon=True).start()

    def end(self, store: str, *, answered: bool) -> None:
        """Nobody waits for the store any more: it answers again, or patience has ended."""
        if store not in self._waits:
            return
        with self._lock:
            found = self._waits.pop(store, None)
        if found is None:
            return
        if answered:
            logger.warning("the store answers again: %s, after %s", store, duration(time.monotonic() - found[0]))
        self._tell()

    @property
    def any(self) -> bool:
        """Whether something is waited for."""
        return bool(self._waits)

    def current(self) -> list[Wait]:
        """All that is waited for, the longest wait first."""
        now = time.monotonic()
        with self._lock:
            waits = sorted(self._waits.items(), key=lambda item: item[1][0])
        return [Wait(store, reason, now - since) for store, (since, reason) in waits]

    def _renew(self) -> None:
        while True:
            time.sleep(RENEW_S)
            with self._lock:
                self._renewing = bool(self._waits)
            if not self._renewing:
                return
            self._tell()

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self.current())


WAITS = Waits()
"""Those of this process."""
