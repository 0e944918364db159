"""The order of all rows of a report: which rows of which sorted batch make which positions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

STEPS = 100
"""Steps of the score at which it is known where they begin."""
FAKE, UNCERTAIN, ERROR = 1, 2, 3


@dataclass(frozen=True)
class Slice:
    """Rows of a batch that are next to each other in it."""

    batch: int
    first: int
    last: int
    """The one after them."""


@dataclass(frozen=True)
class Window:
    """Consecutive positions: rows of several batches, and the order that they have among each other."""

    number: int
    first: int
    """Position of the first."""
    slices: tuple[Slice, ...]
    places: NDArray[np.int32]
    """For each position its row among those of the slices, one slice after the other."""
    pictures: pa.Table | None = None
    """For each position `picture`, `images` and `lead`, as the files have them; None where nobody knows."""


class Order:
    """Puts the rows of sorted batches into one order. 13 bytes for each row, 25 while it sorts.

    `keys`, float32[rows], and `verdicts`, uint8[rows], of each batch: ascending, its rows of equal keys by their ids.
    """

    def __init__(self, keys: Sequence[NDArray[np.float32]], verdicts: Sequence[NDArray[np.uint8]]) -> None:
        sizes = [len(batch) for batch in keys]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        joined = np.concatenate([np.zeros(0, np.float32), *keys])
        self._order = np.argsort(joined, kind="stable")
        self._keys = joined[self._order]
        self.verdicts: NDArray[np.uint8] = np.concatenate([np.zeros(0, np.uint8), *verdicts])[self._order]
        """By position: 0 real, 1 fake, 2 uncertain, 3 error."""

    def __len__(self) -> int:
        return len(self._order)

    def at_positions(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the rows of all batches, one batch after the other, in this order."""
        ordered: NDArray[Any] = values[self._order]
        return ordered

    @property
    def scored(self) -> int:
        """Rows with a score."""
        return int(np.searchsorted(self._keys, np.float32(0), side="right"))

    def at_least(self) -> list[int]:
        """For 0, 0.01, …, 1 the rows with at least this score, compared in float32, as scores are stored."""
        limits = -np.arange(STEPS + 1).astype(np.float32) / np.float32(STEPS)
        return [int(count) for count in np.searchsorted(self._keys, limits.astype(np.float32), side="right")]

    def place_of_key(self, key: float) -> int:
        """The first position with this key or a larger one."""
        return int(np.searchsorted(self._keys, np.float32(key), side="left"))

    def windows(self, rows: int) -> Iterator[Window]:
        """All positions, in pieces of so many."""
        for number, first in enumerate(range(0, len(self), rows)):
            yield self._window(number, first, self._order[first : first + rows])

    def _window(self, number: int, first: int, chosen: NDArray[np.int64]) -> Window:
        batches = np.searchsorted(self._starts, chosen, side="right") - 1
        slices: list[Slice] = []
        places = np.empty(len(chosen), np.int32)
        offset = 0
        for batch in np.unique(batches).tolist():
            here = batches == batch
            local = chosen[here] - self._starts[batch]
            low, high = int(local.min()), int(local.max()) + 1
            # Both are sorted alike, so that rows between two of a window are in it, too.
            assert high - low == len(local), "a batch is not sorted"
            places[here] = offset + local - low
            slices.append(Slice(batch, low, high))
            offset += high - low
        return Window(number, first, tuple(slices), places)


def thumbs_chosen(
    verdicts: NDArray[np.uint8], count: int, leading: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Ascending positions of at most `count` rows that get a thumbnail.

    Four of five are of what is flagged or uncertain: the highest scores, and as many from all the others evenly. The
    rest are spread evenly over the other images, since a wrong `real` is to be seen as well. `leading`: positions that
    are the first of their picture; the others get a thumbnail only where some are left.
    """
    flagged = np.flatnonzero((verdicts == FAKE) | (verdicts == UNCERTAIN))
    others = np.flatnonzero(verdicts < FAKE)
    for_others = min(len(others), max(count // 5, count - len(flagged)))
    for_flagged = count - for_others
    top = for_flagged // 2
    first = np.ones(len(verdicts), bool) if leading is None else leading
    return np.union1d(
        _first_of_pictures(flagged, for_flagged, first, top), _first_of_pictures(others, for_others, first, 0)
    )


def _first_of_pictures(
    positions: NDArray[np.int64], count: int, leading: NDArray[np.bool_], top: int
) -> NDArray[np.int64]:
    """At most `count` positions: the first `top`, and the rest evenly; leading ones before the others."""
    if len(positions) <= count:
        return positions
    first, others = positions[leading[positions]], positions[~leading[positions]]
    if len(first) < count:
        return np.concatenate([first, _evenly(others, count - len(first))])
    return np.concatenate([first[:top], _evenly(first[top:], count - top)])


def _evenly(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if count >= len(values):
        return values
    chosen: NDArray[np.int64] = values[(np.arange(count) * len(values)) // max(1, count)]
    return chosen


def taken(pieces: Sequence[pa.Table], window: Window, first: int, last: int) -> pa.Table:
    """The rows of a window at its places from `first` to just below `last`; `pieces` are the slices' rows."""
    places = window.places[first:last]
    starts = np.cumsum([0, *(piece.num_rows for piece in pieces)])
    used, order, offset = [], np.empty(len(places), np.int64), 0
    for number, piece in enumerate(pieces):
        here = (places >= starts[number]) & (places < starts[number + 1])
        if not here.any():
            continue
        local = places[here] - starts[number]
        low, high = int(local.min()), int(local.max()) + 1
        order[here] = offset + local - low
        used.append(piece.slice(low, high - low))
        offset += high - low
    return pa.concat_tables(used).combine_chunks().take(pa.array(order))
