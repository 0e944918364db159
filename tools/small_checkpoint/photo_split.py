"""Which photographs show the same, and on which side of the train/test split each of them stands."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

SAME_PICTURE_BITS = 12
"""Average hashes (256 bits) that differ in at most so many are one picture at two sizes: the larger one is kept."""
SIMILAR_BITS = 40
"""Up to here they are taken for pictures of one thing or place, which must not be split."""
TEST_SHARE = 0.25

Split = Literal["train", "test"]


class Look(NamedTuple):
    """What is compared of one photograph."""

    digest: str
    """sha256 of the file it came from, in hex."""
    look: bytes
    """Average hash, 256 bits."""
    pixels: int
    series: str | None
    """A name that pictures of one thing or place share."""


class Placed(NamedTuple):
    """Where one photograph ends up."""

    group: str
    """sha256 that stands for all photographs that may not be split."""
    split: Split
    duplicate: bool
    """Whether a larger or equal copy of it is kept instead."""


def place(looks: Sequence[Look]) -> list[Placed]:
    """Return the place of each photograph; it depends on the set, not on its order."""
    if not looks:
        return []
    distances = bit_distances([look.look for look in looks])
    group = _Groups(len(looks))
    firsts: dict[str, int] = {}
    for index, look in enumerate(looks):
        if look.series is not None:
            group.join(index, firsts.setdefault(look.series, index))
        for other in np.flatnonzero(distances[index, :index] <= SIMILAR_BITS):
            group.join(index, int(other))
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(looks)):
        members[group.find(index)].append(index)
    name = {root: min(looks[index].digest for index in indices) for root, indices in members.items()}
    # The larger comes first, then the smaller digest: a photograph is a copy if one before it looks the same.
    order = sorted(range(len(looks)), key=lambda index: (-looks[index].pixels, looks[index].digest, index))
    kept: list[int] = []
    duplicates: set[int] = set()
    for index in order:
        if kept and int(distances[index, kept].min()) <= SAME_PICTURE_BITS:
            duplicates.add(index)
        else:
            kept.append(index)
    names = [name[group.find(index)] for index in range(len(looks))]
    return [Placed(group, side(group), index in duplicates) for index, group in enumerate(names)]


def side(group: str) -> Split:
    """The side of the split on which a group stands: a quarter of all names fall into the test split."""
    number = int.from_bytes(hashlib.sha256(f"split:{group}".encode()).digest()[:8], "big")
    return "test" if number < TEST_SHARE * 2**64 else "train"


def bit_distances(hashes: Sequence[bytes]) -> np.ndarray:
    """Number of differing bits between any two hashes of equal length, N x N int16."""
    bits = np.unpackbits(np.array([list(value) for value in hashes], np.uint8).reshape(len(hashes), -1), axis=1)
    ones = bits.astype(np.float32)
    both = ones @ ones.T
    total = ones.sum(axis=1)
    return (total[:, None] + total[None, :] - 2 * both).round().astype(np.int16)


class _Groups:
    """Disjoint sets of indices."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        self._parent[self.find(one)] = self.find(other)
