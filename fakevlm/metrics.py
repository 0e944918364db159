"""How good verdicts are: pure functions on labels and scores. Positive means fake."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def accuracy(is_fake: ArrayLike, says_fake: ArrayLike) -> float:
    """Share of right verdicts, NaN without any. Both bool[n]."""
    truth, said = _flags(is_fake), _flags(says_fake)
    return float((truth == said).mean()) if len(truth) else float("nan")


def f1(truth: ArrayLike, said: ArrayLike) -> float:
    """Harmonic mean of precision and recall of the class that is True in both bool[n]; NaN where the class is absent.

    The paper's F1 is that of the class real: `f1(~is_fake, ~says_fake)`.
    """
    a, b = _flags(truth), _flags(said)
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else float("nan")


def auroc(is_fake: ArrayLike, score: ArrayLike) -> float:
    """Probability that a fake image scores higher than a real one, ties counting half; NaN for a single class.

    bool[n] and float[n]. By the ranks of the scores (Mann and Whitney 1947).
    """
    truth, values = _flags(is_fake), np.asarray(score, dtype=np.float64)
    fakes, reals = int(truth.sum()), int((~truth).sum())
    if not fakes or not reals:
        return float("nan")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0
    return float((rank[place][truth].sum() - fakes * (fakes + 1) / 2.0) / (fakes * reals))


def _flags(values: ArrayLike) -> NDArray[np.bool_]:
    array: NDArray[Any] = np.asarray(values)
    if array.dtype != np.bool_:
        raise TypeError(f"labels must be bool, got {array.dtype}")
    return array
