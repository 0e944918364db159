"""Places for work of many keys, given so that a key with much work waits for itself and not for others.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): work is tagged with the virtual time at which its key has
done with all that it asked for before, and the smallest tag is next. Keys that wait share the places evenly by cost,
and one that has been idle gains nothing by it.
"""

import asyncio
import heapq
import itertools
import math
from dataclasses import dataclass, field

_MAX_IDLE_KEYS = 1024
"""Keys that are remembered although they wait for nothing; more are forgotten, which only gives them a fresh start."""


@dataclass(order=True)
class _Turn:
    tag: float
    number: int
    size: float = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class FairTurns:
    """Belongs to one event loop. What enters must leave."""

    def __init__(self, places: int, room: float = math.inf) -> None:
        """`places` for work at once, which takes at most `room` together; more than that is done alone."""
        self._places = places
        self._room = room
        self._taken = 0.0
        self._virtual = 0.0
        self._ends: dict[str, float] = {}
        self._waiting: list[_Turn] = []
        self._numbers = itertools.count()
        self.running = 0
        """Work that has a place."""

    @property
    def waiting(self) -> int:
        """Work that waits for a place."""
        return sum(not turn.granted.done() for turn in self._waiting)

    def try_enter(self, key: str, cost: float, size: float = 0.0) -> bool:
        """Takes a place if there is one and nobody waits."""
        self._forget_cancelled()
        if self._waiting or not self._fits(size):
            return False
        self._begin(self._tag(key, cost), size)
        return True

    async def enter(self, key: str, cost: float, size: float = 0.0) -> None:
        """Waits for a place. `cost` is above 0; `size` is what the work takes of the room."""
        if self.try_enter(key, cost, size):
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Turn(self._tag(key, cost), next(self._numbers), size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # granted in the moment in which it was given up
                self.leave(size)
            else:
                self._grant()  # it may have been first, and too large for the room
            raise

    def leave(self, size: float = 0.0) -> None:
        """Gives a place back, and with it the room that its work took."""
        self.running -= 1
        self._taken -= size
        self._grant()

    def _tag(self, key: str, cost: float) -> float:
        if not self._waiting and not self.running:
            self._virtual = 0.0
            self._ends.clear()
        elif len(self._ends) > _MAX_IDLE_KEYS:
            self._ends = {key: end for key, end in self._ends.items() if end > self._virtual}
        tag = max(self._virtual, self._ends.get(key, 0.0))
        self._ends[key] = tag + cost
        return tag

    def _fits(self, size: float) -> bool:
        return self.running < self._places and (not self.running or self._taken + size <= self._room)

    def _begin(self, tag: float, size: float) -> None:
        self._virtual = max(self._virtual, tag)
        self.running += 1
        self._taken += size

    def _grant(self) -> None:
        self._forget_cancelled()
        while self._waiting and self._fits(self._waiting[0].size):
            turn = heapq.heappop(self._waiting)
            self._begin(turn.tag, turn.size)
            turn.granted.set_result(None)
            self._forget_cancelled()

    def _forget_cancelled(self) -> None:
        while self._waiting and self._waiting[0].granted.done():
            heapq.heappop(self._waiting)
