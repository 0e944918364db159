"""Requests in flight to one store: as many as there are, until it throttles or fails; then fewer, and slowly more."""

import asyncio
import math
import random
import time
from collections import deque

_MIN_PAUSE_S, _MAX_PAUSE_S = 0.01, 10.0
_QUIET_SHARE = 8
"""With one request in flight, the pause after a failure is this part of the time since the store last delivered."""
_RECOVERED = 1.5
"""The limit goes when it has grown to so many times what was in flight when it came."""


class Limiter:
    """Additive increase, multiplicative decrease of the requests in flight. Used on one event loop.

    While nothing fails it counts up and down and does nothing else.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.limit = math.inf
        """Requests that may be in flight."""
        self._peak = 0
        self._lowered_at = -math.inf
        self._not_before = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> None:
        """Returns when the request may be sent; `leave` must follow."""
        if self.limit == math.inf and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn had come
            else:
                turn.cancel()
            raise

    def leave(self) -> None:
        """The request has ended."""
        self.in_flight -= 1
        if self._waiting:
            self._admit()

    def delivered(self) -> None:
        """A request came to its end as it should."""
        if self.limit == math.inf:
            return
        self._not_before = 0.0
        self.limit += 1 / self.limit
        if self.limit >= _RECOVERED * self._peak:
            self.limit = math.inf
        self._admit()

    def failed(self, sent_at: float, quiet_s: float, retry_after_s: float | None = None) -> None:
        """A request that was sent at `sent_at` was throttled, or its connection failed.

        `quiet_s`: seconds since the store last delivered anything. Requests that were in flight together lower the
        limit once.
        """
        now = time.monotonic()
        if sent_at > self._lowered_at:
            self._peak = max(self.in_flight, 1) if self.limit == math.inf else self._peak
            self.limit = max(1.0, min(self.limit, self.in_flight + 1) / 2)
            self._lowered_at = now
        if self.limit < 2:
            pause = min(max(quiet_s / _QUIET_SHARE, _MIN_PAUSE_S), _MAX_PAUSE_S) * random.uniform(0.5, 1.5)
            self._not_before = max(self._not_before, now + pause)
        if retry_after_s is not None:
            self._not_before = max(self._not_before, now + retry_after_s)

    def free(self) -> None:
        """Limit nothing any more, until the next failure."""
        self.limit, self._not_before = math.inf, 0.0
        self._admit()

    def _admit(self) -> None:
        """Wake as many as may go."""
        while self._waiting and self.in_flight + 1 <= self.limit:
            delay = self._not_before - time.monotonic()
            if delay > 0:
                if self._timer is None or self._timer.cancelled():
                    self._timer = asyncio.get_running_loop().call_later(delay, self._wake)
                return
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _wake(self) -> None:
        self._timer = None
        self._admit()
