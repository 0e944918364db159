"""Which of many pictures look alike: clusters of millions of perceptual hashes, on one machine.

Hashes that are near each other share most bits, so under some order of the bits they stand close together when sorted
(Charikar, Similarity Estimation Techniques from Rounding Algorithms, 2002). Each of `TABLES` random orders sorts all
hashes and compares each with the `WINDOW` that follow it; what these links connect is then divided again so that every
picture is within the limit of the first of its cluster, and a chain of small steps joins nothing.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.phash import BITS

Hashes = NDArray[np.uint8]

TABLES: Final = 20
WINDOW: Final = 8
_KEY_BITS = 40
_CHUNK = 2**16


def picture_clusters(
    hashes: Hashes, limit: int = LIMIT, *, seed: int = 0, on_table: Callable[[int], None] = lambda _: None
) -> NDArray[np.int64]:
    """For each of uint8[n, 32] hashes the index of the first one of its cluster, int64[n].

    Equal hashes always share a cluster. Of two that differ in few bits nearly all are found, by chance (`seed`): see
    docs/near-duplicates.md. Memory: about 120 bytes a hash. `on_table` hears of each finished order of the bits.
    Raises ValueError for other shapes.
    """
    if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] * 8 != BITS:
        raise ValueError(f"hashes must be uint8[n, {BITS // 8}], got {hashes.dtype}{list(hashes.shape)}")
    if not len(hashes):
        return np.zeros(0, np.int64)
    firsts, place = _distinct(hashes)
    distinct = np.ascontiguousarray(hashes[firsts])
    parents = np.arange(len(distinct), dtype=np.int64)
    random = np.random.default_rng(seed)
    for _ in range(TABLES):
        pairs = _near(distinct, random.permutation(BITS)[:_KEY_BITS], limit)
        parents = _joined(parents, pairs)
        on_table(1)
    _divide(distinct, parents, limit)
    return firsts[parents][place]


def _distinct(hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the first of each distinct hash, in order, and for each hash its place among them."""
    whole = np.ascontiguousarray(hashes).view(np.dtype((np.void, BITS // 8)))[:, 0]
    _, firsts, place = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return firsts[order].astype(np.int64), rank[place]


def _near(hashes: Hashes, bits: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Pairs of indices, int64[pairs, 2], of those that stand close in this order of bits and are within the limit."""
    order = np.argsort(_keys(hashes, bits))
    words = hashes.view(np.uint64)
    found: list[NDArray[np.int64]] = []
    for start in range(0, len(order), _CHUNK):
        near = order[start : start + _CHUNK + WINDOW]
        values = words[near]
        for step in range(1, WINDOW + 1):
            left, right = values[: min(_CHUNK, len(near) - step)], values[step : step + _CHUNK]
            alike = np.flatnonzero(np.bitwise_count(left[: len(right)] ^ right).sum(axis=1, dtype=np.int32) <= limit)
            found.append(np.stack([near[alike], near[alike + step]], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def _keys(hashes: Hashes, bits: NDArray[np.int64]) -> NDArray[np.uint64]:
    """These bits of each hash, the first one highest."""
    keys = np.empty(len(hashes), np.uint64)
    for start in range(0, len(hashes), _CHUNK):
        columns = np.ascontiguousarray(hashes[start : start + _CHUNK].T)
        key = np.zeros(columns.shape[1], np.uint64)
        for bit in bits.tolist():
            key = (key << 1) | ((columns[bit // 8] >> (7 - bit % 8)) & 1)
        keys[start : start + _CHUNK] = key
    return keys


def _joined(parents: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each index the least of those that the pairs and the parents connect it with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(parents)
    rows = np.concatenate([np.arange(count), pairs[:, 0]])
    columns = np.concatenate([parents, pairs[:, 1]])
    graph = coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    least = np.full(int(component.max()) + 1, count, np.int64)
    np.minimum.at(least, component, np.arange(count))
    joined: NDArray[np.int64] = least[component]
    return joined


def _divide(hashes: Hashes, parents: NDArray[np.int64], limit: int) -> None:
    """Make every index's parent one within the limit: the first that is left takes its neighbours, and so on."""
    order = np.argsort(parents, kind="stable")
    _, starts, sizes = np.unique(parents[order], return_index=True, return_counts=True)
    words = hashes.view(np.uint64)
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        left = order[start : start + size]
        while len(left):
            distance = np.bitwise_count(words[left] ^ words[left[0]]).sum(axis=1, dtype=np.int32)
            taken = distance <= limit
            parents[left[taken]] = left[0]
            left = left[~taken]
