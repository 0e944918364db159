"""The one event loop of a process on which all asynchronous reading happens, on its own thread."""

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class IoLoop:
    """An event loop that runs on a daemon thread until the process ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="fakescan-io", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; the calling thread waits for it, and an interrupt of the wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        finally:
            future.cancel()  # no effect once it is done

    def at_exit(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await `closer()` before the process ends, so that sessions are closed without warnings."""
        self._closers.append(closer)

    def close(self) -> None:
        async def close_all() -> None:
            await asyncio.gather(*(closer() for closer in self._closers), return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close_all(), self.loop).result(timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self.loop.close()


_current: tuple[int, IoLoop] | None = None
_lock = threading.Lock()


def io_loop() -> IoLoop:
    """This process's loop; a forked child gets its own."""
    global _current
    with _lock:
        if _current is None or _current[0] != os.getpid():
            _current = (os.getpid(), IoLoop())
            atexit.register(_close, *_current)
        return _current[1]


def _close(pid: int, loop: IoLoop) -> None:
    if pid == os.getpid():
        loop.close()
