"""Pictures of one set that are nearly in another: images of a test split that training has seen.

A picture that was forged in a few places may be a near duplicate of the real one that it was made from.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fakevlm.near_duplicates import LIMIT

Bits = npt.NDArray[np.uint8]

_ROWS, _COLUMNS = 64, 2048
"""Size of the tile of distances that is computed at once; it stays in the processor's cache."""


class NearDuplicate(NamedTuple):
    """Two pictures that are alike."""

    first: int
    """Index into the first hashes."""
    second: int
    """Index into the second hashes."""
    distance: int
    """Bits of 256 that differ."""


def near_duplicates(first: Bits, second: Bits, limit: int = LIMIT) -> list[NearDuplicate]:
    """For each of the first hashes the nearest of the second, if at most `limit` bits differ, in order.

    uint8[n, 32] and uint8[m, 32]; of several equally near the one that comes first. Raises ValueError for other shapes.
    """
    rows, columns = _words(first), _words(second)
    duplicates: list[NearDuplicate] = []
    for top in range(0, len(rows), _ROWS):
        tile = rows[top : top + _ROWS]
        distance = np.full(len(tile), limit + 1)
        nearest = np.zeros(len(tile), np.int64)
        for left in range(0, len(columns), _COLUMNS):
            differing = _distances(tile, columns[left : left + _COLUMNS])
            place = differing.argmin(axis=1)
            least = differing[np.arange(len(tile)), place]
            nearer = least < distance
            distance[nearer], nearest[nearer] = least[nearer], left + place[nearer]
        for row in np.flatnonzero(distance <= limit):
            duplicates.append(NearDuplicate(top + int(row), int(nearest[row]), int(distance[row])))
    return duplicates


def _words(hashes: Bits) -> npt.NDArray[np.uint64]:
    """Hashes as uint64[n, 4]."""
    if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != 32:
        raise ValueError(f"hashes must be uint8[n, 32], got {hashes.dtype}{list(hashes.shape)}")
    return np.ascontiguousarray(hashes).view(np.uint64)


def _distances(rows: npt.NDArray[np.uint64], columns: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
    """The number of differing bits of each pair, uint16[rows, columns]: 256 do not fit into uint8."""
    total = np.zeros((len(rows), len(columns)), np.uint16)
    for word in range(4):
        total += np.bitwise_count(rows[:, None, word] ^ columns[None, :, word])
    return total
