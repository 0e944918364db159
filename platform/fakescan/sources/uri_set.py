"""A set of URIs in 16 bytes each that answers for whole columns: which of these have not been seen before?"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U64 = npt.NDArray[np.uint64]

_MAX_WORDS = 16_384
_SEED = 0x5EED


class UriSet:
    """Remembers a 128-bit hash per URI in sorted runs that are merged like a log-structured tree.

    Two independent 64-bit multilinear hashes (Lemire and Kaser, "Strongly universal string hashing is fast", 2014):
    among 10^9 URIs two different ones are taken for the same with a probability below 10^-15. A Python set of the
    strings would take ten times the memory and one interpreter round per row.
    """

    def __init__(self) -> None:
        random = np.random.default_rng(_SEED)
        self._factors = random.integers(0, 2**64, size=(_MAX_WORDS + 1, 2), dtype=np.uint64) | np.uint64(1)
        self._runs: list[tuple[U64, U64]] = []

    def add(self, uris: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Add them all. Bool[N]: true for the first appearance of each URI, false where it was seen before."""
        high, low, order = self._sorted_hashes(uris)
        fresh = ~self._seen(high, low)
        fresh[1:] &= (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        if fresh.any():
            self._append(high[fresh], low[fresh])
        answer = np.empty_like(fresh)
        answer[order] = fresh
        return answer

    def contains(self, uris: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Bool[N]: whether each was added."""
        high, low, order = self._sorted_hashes(uris)
        answer = np.empty(len(order), dtype=bool)
        answer[order] = self._seen(high, low)
        return answer

    def _sorted_hashes(self, uris: pa.StringArray) -> tuple[U64, U64, npt.NDArray[np.int64]]:
        high, low = self._hash(uris)
        order = np.argsort(high, kind="stable")
        return high[order], low[order], order

    def _seen(self, high: U64, low: U64) -> npt.NDArray[np.bool_]:
        seen = np.zeros(len(high), dtype=bool)
        for run_high, run_low in self._runs:
            at = np.minimum(np.searchsorted(run_high, high), len(run_high) - 1)
            seen |= (run_high[at] == high) & (run_low[at] == low)
        return seen

    def _append(self, high: U64, low: U64) -> None:
        """One more run; runs of similar size are merged, so that there are only about log2(N) of them."""
        while self._runs and len(self._runs[-1][0]) <= 2 * len(high):
            other_high, other_low = self._runs.pop()
            high, low = np.concatenate([other_high, high]), np.concatenate([other_low, low])
            order = np.argsort(high, kind="stable")  # timsort: linear for two sorted halves
            high, low = high[order], low[order]
        self._runs.append((high, low))

    def _hash(self, uris: pa.StringArray) -> tuple[U64, U64]:
        """Two uint64[N]: sums of the URI's 8-byte words times random odd factors, the length among them."""
        offsets = np.frombuffer(uris.buffers()[1], dtype=np.int32)[uris.offset : uris.offset + len(uris) + 1]
        data = np.frombuffer(uris.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
        starts = (offsets[:-1] - offsets[0]).astype(np.int64)
        lengths = np.diff(offsets).astype(np.int64)
        result = np.empty((len(uris), 2), dtype=np.uint64)
        words = (lengths + 7) // 8
        if len(words) and words.max() > _MAX_WORDS:
            raise ValueError(f"a URI of {lengths.max()} bytes is longer than {8 * _MAX_WORDS}")
        classes = np.maximum(3, np.ceil(np.log2(np.maximum(words, 1))).astype(np.int64))  # widths 8, 16, 32, … words
        for width_class in np.unique(classes):
            rows = np.flatnonzero(classes == width_class)
            width = int(min(8 << int(width_class), 8 * max(1, int(words[rows].max()))))
            padded = np.zeros((len(rows), width), dtype=np.uint8)
            inside = np.arange(width) < lengths[rows, None]
            if len(rows) == len(uris):
                padded[inside] = data
            else:
                padded[inside] = data[(starts[rows, None] + np.arange(width))[inside]]
            result[rows] = padded.view(np.uint64) @ self._factors[1 : 1 + width // 8]
        result += lengths.astype(np.uint64)[:, None] * self._factors[0]
        result ^= result >> np.uint64(32)  # multilinear sums carry their entropy in the high bits
        result *= self._factors[1]
        return np.ascontiguousarray(result[:, 0]), np.ascontiguousarray(result[:, 1])
