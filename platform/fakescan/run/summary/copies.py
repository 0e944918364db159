"""Rows whose images have the same bytes, found by the hashes of all rows together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.summary.outcomes import ERROR, OUTCOMES

_DIGITS = 32
"""Of a hash in hex: half of a SHA-256. Among a billion images, the chance of two with the same half is 1 in 10^20."""
_ABSENT = len(OUTCOMES)


@dataclass(frozen=True, slots=True)
class CopyGroup:
    """Rows with the same bytes."""

    rows: NDArray[np.int64]
    """Their row ids, ascending."""
    outcomes: NDArray[np.int64]
    """What became of each; see `OUTCOMES`."""


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """How many contents are in a run more than once."""

    contents: int = 0
    """Different contents of which there is a copy."""
    rows: int = 0
    """Rows with one of these contents."""
    differing: int = 0
    """Of these contents, those with more than one verdict; an error is none."""
    largest: tuple[CopyGroup, ...] = ()
    """Some groups, most rows first."""
    different: tuple[CopyGroup, ...] = ()
    """Some groups with more than one verdict, most rows first."""


class PackedHashes:
    """The hashes of some rows, in 25 bytes for each: on their way from one process to another."""

    def __init__(self) -> None:
        self.pieces: list[tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint8]]] = []
        """Row ids, uint64[2, rows] of their hashes, and what became of them."""

    def add(self, first: int, sha256: pa.ChunkedArray, outcomes: NDArray[np.int64]) -> None:
        """Take the hashes in hex of consecutive rows from `first` on, null where there is none."""
        valid = pc.fill_null(pc.match_substring_regex(sha256, "^[0-9a-f]{64}$"), False).to_numpy()
        digits = "".join(text[:_DIGITS] for text in sha256.filter(pa.array(valid)).to_pylist())
        hashes = np.frombuffer(bytes.fromhex(digits), np.uint64).reshape(-1, 2).T
        self.pieces.append((first + np.flatnonzero(valid), hashes, outcomes[valid].astype(np.uint8)))


class ContentHashes:
    """The hashes of a run's rows. 17 bytes for each row while it reads, at most 80 while `counts` sorts.

    `conditions`: how many times each image is in the run, distorted in so many ways; those are no copies.
    """

    def __init__(self, rows: int, conditions: int = 1) -> None:
        self._hashes = np.zeros((2, rows), np.uint64)
        self._outcomes = np.full(rows, _ABSENT, np.uint8)
        self._images = max(1, rows // conditions)

    def add(self, first: int, sha256: pa.ChunkedArray, outcomes: NDArray[np.int64]) -> None:
        """Take the hashes in hex of consecutive rows from `first` on, null where there is none."""
        packed = PackedHashes()
        packed.add(first, sha256, outcomes)
        self.take(packed)

    def take(self, packed: "PackedHashes") -> None:
        """Take the hashes of rows, each of which comes once."""
        for where, hashes, outcomes in packed.pieces:
            self._hashes[:, where] = hashes
            self._hashes[1, where] ^= (where // self._images).astype(np.uint64)
            self._outcomes[where] = outcomes

    def counts(self, examples: int) -> CopyCounts:
        """Count the contents that are there more than once; at most so many groups of a kind are handed out."""
        near = self._neighbours()
        if not len(near):
            return CopyCounts()
        changes = (self._hashes[:, near[1:]] != self._hashes[:, near[:-1]]).any(axis=0)
        starts = np.flatnonzero(np.insert(changes, 0, True))
        sizes = np.diff(np.append(starts, len(near)))
        verdicts = np.bitwise_or.reduceat(np.left_shift(np.uint8(1), self._outcomes[near]), starts) & ((1 << ERROR) - 1)
        copied = sizes > 1
        mixed = copied & (verdicts & (verdicts - 1) != 0)  # more than one bit

        def some(mask: NDArray[np.bool_]) -> tuple[CopyGroup, ...]:
            numbers = np.flatnonzero(mask)
            numbers = numbers[np.lexsort((near[starts[numbers]], -sizes[numbers]))][:examples]
            pieces = [near[starts[number] : starts[number] + sizes[number]] for number in numbers]
            return tuple(CopyGroup(piece, self._outcomes[piece].astype(np.int64)) for piece in pieces)

        return CopyCounts(int(copied.sum()), int(sizes[copied].sum()), int(mixed.sum()), some(copied), some(mixed))

    def _neighbours(self) -> NDArray[np.int64]:
        """Rows whose first eight bytes are those of another row, by hash and row id."""
        there = np.flatnonzero(self._outcomes != _ABSENT)
        order = there[np.argsort(self._hashes[0, there], kind="stable")]
        starts = self._hashes[0, order]
        same = starts[1:] == starts[:-1]
        alike = np.zeros(len(order), bool)
        alike[1:] |= same
        alike[:-1] |= same
        near = order[alike]
        sorted_near: NDArray[np.int64] = near[np.lexsort((near, self._hashes[1, near], self._hashes[0, near]))]
        return sorted_near
