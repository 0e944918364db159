"""Threads whose work is given out by turns."""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

from fakescan.serve.decoding.fair_turns import FairTurns
from fakescan.telemetry.thread_name import show_thread_as

Outcome = TypeVar("Outcome")

_SPARE_THREADS = 2
"""For what is done without a turn."""


class Lane:
    """Threads for work of one kind, and the turns that keys take for them. Belongs to one event loop."""

    def __init__(self, name: str, threads: int, room: float = math.inf) -> None:
        self._turns = FairTurns(threads, room)
        self._pool = ThreadPoolExecutor(
            threads + _SPARE_THREADS, thread_name_prefix=name, initializer=show_thread_as, initargs=(name,)
        )

    @property
    def waiting(self) -> int:
        """Work that waits for its turn."""
        return self._turns.waiting

    async def run(
        self,
        key: str,
        cost: float,
        begin: Callable[[], Callable[[], Outcome]],
        ended: Callable[[], None] = lambda: None,
        *,
        size: float = 0.0,
    ) -> "Future[Outcome]":
        """Waits for the key's turn and starts the work that `begin` returns then; see FairTurns for cost and size.

        `ended` is called on the event loop when it has ended, or where the turn was not waited for.
        """
        loop = asyncio.get_running_loop()

        def leave() -> None:
            self._turns.leave(size)
            ended()

        def leave_elsewhere(_: "Future[Outcome]") -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(leave)

        try:
            await self._turns.enter(key, cost, size)
        except BaseException:
            ended()
            raise
        try:
            future = self.submit(begin())
        except BaseException:
            leave()
            raise
        future.add_done_callback(leave_elsewhere)
        return future

    def submit(self, work: Callable[[], Outcome]) -> "Future[Outcome]":
        """Has a thread do something short, without a turn."""
        return self._pool.submit(copy_context().run, work)  # log lines and spans are those of the request

    def close(self) -> None:
        """Waits for the work that has begun, and forgets the rest."""
        self._pool.shutdown(cancel_futures=True)
