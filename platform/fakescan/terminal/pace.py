"""How fast something goes and when it ends, from results that come in lumps."""

import math

_SHORTEST_MEMORY_S = 60.0
_LONGEST_MEMORY_S = 900.0
_MEMORY_SHARE = 0.25
"""Of the time since the start: for so long, between those bounds, a result counts."""
_GAPS_REMEMBERED = 6
"""Usual gaps between two results that are remembered at least."""
_PAUSE_GAPS = 3
"""Usual gaps without a result that make a pause."""
_PAUSE_SHARE = 0.25
"""Of the remembered time: so much a pause counts at most, for it says little about the rest."""
_SAME_LUMP = 0.1
"""Results that come within this share of the gap before a lump belong to it."""
_STEADY = 0.05
"""Share of the time left by which the end may be off before it is moved."""


class Pace:
    """Items per second, and the time left. Times are in seconds, of any clock that never goes back.

    The rate is that of all items since the start, of which the old ones are slowly forgotten. The time to the first
    result, which may hold a slow start, counts less and less as others come, and not at all once those took as long.
    The end that is foretold moves only when it would move by more than the usual gap between two results, or by a
    twentieth of the time left: between results, and while the pace is steady, the time left goes down with the clock.
    """

    def __init__(self, started: float) -> None:
        self._started = self._last = started
        self._first_items = self._first_s = 0.0
        """Of the first lump, or burst of lumps."""
        self._later_s = 0.0
        """Seconds from it to the last one, without the most of pauses."""
        self._items = self._seconds = self._usual = 0.0
        """Since then, the older ones forgotten in part; and the longest gap that was no pause."""
        self._end: float | None = None
        self._lump_at = started
        self._lump_gap = 0.0
        """When the last lump began to come, and the gap before it."""

    def restart(self, at: float) -> None:
        """Nothing could be done before `at`. Without effect once there are items."""
        if not self._first_items:
            self._started = self._last = max(at, self._started)

    def add(self, at: float, items: int) -> None:
        """`items` more were done by `at`."""
        gap = max(at - self._last, 0.0)
        self._last += gap
        if self._last - self._lump_at > _SAME_LUMP * self._lump_gap or not self._first_items:
            self._lump_at, self._lump_gap = self._last, gap
        if not self._first_items:
            self._first_items, self._first_s = float(items), gap
        elif not self._items and gap <= _SAME_LUMP * self._first_s:
            self._first_items += items
            self._first_s += gap
        else:
            if self._usual:
                gap = min(gap, max(_PAUSE_GAPS * self._usual, _PAUSE_SHARE * self._seconds))
            # Engines that have begun together come in rounds, which take as long as the first part has taken.
            memory = max(_MEMORY_SHARE * (self._last - self._started), _GAPS_REMEMBERED * self._first_s)
            memory = max(min(max(memory, _SHORTEST_MEMORY_S), _LONGEST_MEMORY_S), _GAPS_REMEMBERED * self._usual)
            kept = math.exp(-gap / memory)
            self._items = kept * self._items + items
            self._seconds = kept * self._seconds + gap
            self._usual = max(gap, kept * self._usual)
            self._later_s += gap

    @property
    def rate(self) -> float | None:
        """Items per second; None before the first."""
        weight = max(0.0, 1.0 - self._later_s / self._first_s) if self._first_s else 0.0
        seconds = self._seconds + weight * self._first_s
        return (self._items + weight * self._first_items) / seconds if seconds > 0 else None

    def paused(self, now: float) -> float | None:
        """Seconds since the last result, when those are more than usual; None before the first one."""
        waited = now - self._last
        return waited if self._first_items and waited > _PAUSE_GAPS * self._gap else None

    def left(self, items: int, now: float) -> float | None:
        """Seconds until `items` more are done, at least 0; None before the first lump is whole."""
        rate = self.rate
        if now - self._lump_at < _SAME_LUMP * self._lump_gap:  # others may come with it
            return None if self._end is None else max(self._end - now, 0.0)
        if not rate:
            return None
        needed = items / rate
        end = max(self._last + needed, now + needed - self._gap)
        slack = max(self._gap, _STEADY * (end - now))
        if self._end is None or abs(end - self._end) > slack:
            self._end = end
        return max(self._end - now, 0.0)

    @property
    def _gap(self) -> float:
        """The longest time between two results that is nothing unusual."""
        return self._usual if self._later_s >= self._first_s else max(self._usual, self._first_s)
