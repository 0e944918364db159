"""A bound on the bytes of images that are being read at once in this process, whatever their sizes turn out to be."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

MAX_BYTES_IN_FLIGHT = 256 * 2**20
"""Bytes that all reads of a process may hold together, beyond which only the oldest of them goes on."""

STEP = 2**20
"""Bytes by which the room of an image of unknown length grows."""


class Room:
    """The bytes that one read has reserved. Use it as a context manager, on one event loop."""

    def __init__(self, bound: "BytesInFlight | None" = None) -> None:
        self.size = 0
        self._bound = bound
        self._limit: asyncio.Timeout | None = None

    def __enter__(self) -> "Room":
        if self._bound is not None:
            self._bound.rooms[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bound is not None:
            self._bound.release(self)

    @contextmanager
    def timed_by(self, limit: asyncio.Timeout) -> Iterator[None]:
        """While this lasts, the time that is spent waiting for room does not count."""
        self._limit = limit
        try:
            yield
        finally:
            self._limit = None

    async def reserve(self, size: int) -> None:
        """Returns when the read may hold `size` bytes in all."""
        if self._bound is None or size <= self.size:
            return
        if self._bound.has_room(self, size):
            self._bound.grow(self, size)
            return
        left = self._stop_clock()
        try:
            await self._bound.wait(self, size)
        finally:
            self._start_clock(left)

    def _stop_clock(self) -> float | None:
        due = self._limit.when() if self._limit is not None else None
        if self._limit is None or due is None:
            return None
        self._limit.reschedule(None)
        return due - asyncio.get_running_loop().time()

    def _start_clock(self, left: float | None) -> None:
        if self._limit is not None and left is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + left)


class BytesInFlight:
    """Shares a number of bytes among reads. The oldest read always gets what it asks for, so that there is an end."""

    def __init__(self, limit: int = MAX_BYTES_IN_FLIGHT) -> None:
        self.limit = limit
        self.held = 0
        """Bytes that are reserved."""
        self.rooms: dict[Room, None] = {}
        """The reads, the oldest first."""
        self._waiting: list[tuple[Room, int, asyncio.Future[None]]] = []

    def room(self) -> Room:
        """For one read."""
        return Room(self)

    def has_room(self, room: Room, size: int) -> bool:
        """Whether the read may hold so many bytes in all."""
        return self.held + size - room.size <= self.limit or next(iter(self.rooms)) is room

    def grow(self, room: Room, size: int) -> None:
        """The read holds so many bytes now."""
        self.held += size - room.size
        room.size = size

    async def wait(self, room: Room, size: int) -> None:
        """Returns when the read holds so many bytes."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((room, size, turn))
        await turn

    def release(self, room: Room) -> None:
        """The read has ended."""
        self.held -= room.size
        room.size = 0
        del self.rooms[room]
        left = []
        for waiting, size, turn in self._waiting:
            if turn.done() or waiting not in self.rooms:  # cancelled
                continue
            if self.has_room(waiting, size):
                self.grow(waiting, size)
                turn.set_result(None)
            else:
                left.append((waiting, size, turn))
        self._waiting = left


UNBOUNDED = Room()
"""For reads that nothing bounds but their own limit."""
