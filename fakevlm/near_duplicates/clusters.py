"""Which of many pictures look alike: clusters of millions of perceptual hashes, on one machine.

Hashes that are near each other share most bits, so under some order of the bits they stand close together when sorted
(Charikar, Similarity Estimation Techniques from Rounding Algorithms, 2002). Each of `TABLES` random orders sorts all
hashes and compares each with the `WINDOW` that follow it; what these links connect is then divided again so that every
picture is within the limit of the first of its cluster, and a chain of small steps joins nothing.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.phash import BITS

Hashes = NDArray[np.uint8]

TABLES: Final = 20
WINDOW: Final = 8
_KEY_BITS = 40
_CHUNK = 2**16
_WAITING = 2**20
"""Pairs that are in memory before they are joined."""


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
    words = distinct.view(np.uint64)
    parents = np.arange(len(distinct), dtype=np.int64)
    random = np.random.default_rng(seed)
    for _ in range(TABLES):
        order = np.argsort(_keys(distinct, random.permutation(BITS)[:_KEY_BITS]), kind="stable")
        parents = _linked(words, order, parents, limit)
        on_table(1)
    _divide(words, parents, limit)
    return firsts[parents][place]


def _distinct(hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the first of each distinct hash, in order, and for each hash its place among them."""
    words = np.ascontiguousarray(hashes).view(np.uint64)
    short = words[:, 0].copy()
    for column in (1, 2, 3):  # one word that stands for all four: few other hashes have the same
        short *= np.uint64(0x9E3779B97F4A7C15)
        short ^= (short >> np.uint64(29)) ^ words[:, column]
    firsts, place = _unique(short)
    del short
    for start in range(0, len(words), _CHUNK):
        stop = start + _CHUNK
        if not np.array_equal(words[firsts[place[start:stop]]], words[start:stop]):
            return _unique(np.ascontiguousarray(hashes).view(np.dtype((np.void, BITS // 8)))[:, 0])
    return firsts, place


def _unique(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the first of each value, in order, and for each value its place among them."""
    _, firsts, place = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return firsts[order].astype(np.int64), rank[place.ravel()]


def _linked(
    words: NDArray[np.uint64], order: NDArray[np.int64], parents: NDArray[np.int64], limit: int
) -> NDArray[np.int64]:
    """The parents, joined where two hashes stand close in this order and are within the limit."""
    waiting: list[NDArray[np.int64]] = []
    count = 0
    for start in range(0, len(order), _CHUNK):
        near = order[start : start + _CHUNK + WINDOW]
        first, cluster = words[near, 0], parents[near]
        for step in range(1, min(WINDOW, len(near) - 1) + 1):
            size = min(_CHUNK, len(near) - step)
            left, right = slice(0, size), slice(step, step + size)
            # A quarter of the bits leaves few pairs to be compared whole.
            alike = np.bitwise_count(first[left] ^ first[right]) <= limit
            some = np.flatnonzero(alike & (cluster[left] != cluster[right]))
            pairs = np.stack([near[some], near[some + step]], axis=1)
            pairs = pairs[_distances(words[pairs[:, 0]], words[pairs[:, 1]]) <= limit]
            waiting.append(pairs)
            count += len(pairs)
        if count >= _WAITING:  # a picture with many copies gives eight pairs for each
            parents, waiting, count = _joined(parents, np.concatenate(waiting)), [], 0
    return _joined(parents, np.concatenate(waiting)) if waiting else parents


def _distances(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Bits that differ, int32[n], of uint64[n, 4] and as many."""
    total: NDArray[np.int32] = np.bitwise_count(left ^ right).sum(axis=1, dtype=np.int32)
    return total


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
    """For each index the least of those that the pairs and the parents connect it with. Parents are their own."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = parents[pairs]
    links = links[links[:, 0] != links[:, 1]]
    if not len(links):
        return parents
    nodes, ends = np.unique(links.ravel(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    shape = (len(nodes), len(nodes))
    graph = coo_array((np.ones(len(links), np.bool_), (ends[:, 0], ends[:, 1])), shape=shape)
    _, component = connected_components(graph, directed=False)
    _, least = np.unique(component, return_index=True)  # nodes ascend: the first of a component is its least
    target = np.arange(len(parents), dtype=np.int64)
    target[nodes] = nodes[least[component]]
    return target[parents]


def _divide(words: NDArray[np.uint64], parents: NDArray[np.int64], limit: int) -> None:
    """Make every index's parent one within the limit: the first of a cluster takes its neighbours, then the first of
    those that are left, and so on."""
    left = np.flatnonzero(parents != np.arange(len(parents)))
    while len(left):
        far = np.zeros(len(left), np.bool_)
        for start in range(0, len(left), _CHUNK):
            some = left[start : start + _CHUNK]
            far[start : start + _CHUNK] = _distances(words[some], words[parents[some]]) > limit
        left = left[far]
        _, firsts, cluster = np.unique(parents[left], return_index=True, return_inverse=True)
        parents[left] = left[firsts][cluster]
