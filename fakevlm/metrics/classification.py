"""How good verdicts and scores are: pure functions on labels. Positive means fake.

Labels and yes-or-no verdicts are bool[n] (else TypeError), scores float[n]. What is not defined is NaN. ValueError: a
score is NaN, or the lengths differ.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fakevlm.verdict import Verdict


class Interval(NamedTuple):
    """Where a value lies with some confidence."""

    low: float
    high: float


class OperatingPoint(NamedTuple):
    """What one threshold does: a score at or above it means fake."""

    tpr: float
    """Share of the fake images that are called fake, 0 to 1."""
    fpr: float
    """Share of the real images that are called fake, 0 to 1."""
    threshold: float
    """Unit of the scores; infinite where no image may be called fake."""


class Confusion(NamedTuple):
    """Images by label and verdict."""

    fake_as_fake: int
    fake_as_real: int
    fake_uncertain: int
    real_as_real: int
    real_as_fake: int
    real_uncertain: int


def accuracy(is_fake: ArrayLike, says_fake: ArrayLike) -> float:
    """Share of right verdicts, NaN without any. Both bool[n]."""
    truth, said = _labelled_flags(is_fake, says_fake)
    return float((truth == said).mean()) if len(truth) else float("nan")


def balanced_accuracy(is_fake: ArrayLike, says_fake: ArrayLike) -> float:
    """Mean of the shares of right verdicts on fake and on real images, NaN where a class is absent. Both bool[n]."""
    truth, said = _labelled_flags(is_fake, says_fake)
    return (accuracy(truth[truth], said[truth]) + accuracy(truth[~truth], said[~truth])) / 2.0


def f1(truth: ArrayLike, said: ArrayLike) -> float:
    """Harmonic mean of precision and recall of the class that is True in both bool[n]; NaN where it is in neither.

    The paper's F1 is that of the class real: `f1(~is_fake, ~says_fake)`.
    """
    a, b = _labelled_flags(truth, said)
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else float("nan")


def macro_f1(is_fake: ArrayLike, says_fake: ArrayLike) -> float:
    """Mean of the F1 of both classes; NaN where a class is in neither bool[n]."""
    truth, said = _labelled_flags(is_fake, says_fake)
    return (f1(truth, said) + f1(~truth, ~said)) / 2.0


def auroc(is_fake: ArrayLike, score: ArrayLike) -> float:
    """Probability that a fake image scores higher than a real one, ties counting half; NaN for a single class.

    bool[n] and float[n]. By the ranks of the scores (Mann and Whitney 1947).
    """
    truth, values = labelled_scores(is_fake, score)
    fakes, reals = int(truth.sum()), int((~truth).sum())
    if not fakes or not reals:
        return float("nan")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0
    return float((rank[place][truth].sum() - fakes * (fakes + 1) / 2.0) / (fakes * reals))


def auroc_interval(auroc: float, fakes: int, reals: int, confidence: float = 0.95) -> Interval:
    """Interval of the probability behind an AUROC of so many images of each class; NaN without a class.

    Newcombe's method 5 (2006): the values t with (auroc - t)^2 <= z^2 V(t), V being Hanley and McNeil's variance.
    It has a width where the two classes do not overlap, unlike an interval around the estimate.
    """
    if not fakes or not reals or math.isnan(auroc):
        return Interval(float("nan"), float("nan"))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    mean = (fakes + reals) / 2 - 1

    def outside(t: float) -> bool:
        spread = 1 + mean * ((1 - t) / (2 - t) + t / (1 + t))
        return (auroc - t) ** 2 > z * z * t * (1 - t) * spread / (fakes * reals)

    return Interval(_edge(outside, 0.0, auroc), _edge(outside, 1.0, auroc))


def _edge(outside: Callable[[float], bool], end: float, inside: float) -> float:
    """Where, from `end` towards `inside`, values begin to belong to an interval; by halving."""
    if not outside(end):
        return end
    for _ in range(60):
        middle = (end + inside) / 2
        if outside(middle):
            end = middle
        else:
            inside = middle
    return inside


def average_precision(is_fake: ArrayLike, score: ArrayLike) -> float:
    """Mean precision over the thresholds, each distinct score being one, by what it adds to recall; NaN without fakes.

    bool[n] and float[n]. Not interpolated, as scikit-learn computes it.
    """
    truth, values = labelled_scores(is_fake, score)
    if not truth.any():
        return float("nan")
    _, fakes, reals = _called_fake(truth, values)
    gain = np.diff(fakes, prepend=0) / fakes[-1]
    return float((gain * fakes / (fakes + reals)).sum())


def roc(is_fake: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve: false and true positive rate, float64[d + 1] for d distinct scores, from (0, 0) to (1, 1).

    bool[n] and float[n]. The rate of an absent class is NaN.
    """
    _, fakes, reals = _called_fake(*labelled_scores(is_fake, score))
    false, true = np.append(0.0, reals), np.append(0.0, fakes)
    with np.errstate(invalid="ignore"):
        return false / false[-1], true / true[-1]


def tpr_at_fpr(is_fake: ArrayLike, score: ArrayLike, fpr: float) -> OperatingPoint:
    """The lowest score, or infinity, that as a threshold calls at most the share `fpr` of the real images fake.

    bool[n] and float[n]. All NaN for a single class. Raises ValueError for an fpr outside 0 to 1.
    """
    if not 0 <= fpr <= 1:
        raise ValueError(f"fpr must be 0 to 1, got {fpr}")
    truth, values = labelled_scores(is_fake, score)
    if truth.all() or not truth.any():
        return OperatingPoint(float("nan"), float("nan"), float("nan"))
    threshold, fakes, reals = _called_fake(truth, values)
    allowed = int((reals / reals[-1] <= fpr).sum())
    if not allowed:
        return OperatingPoint(0.0, 0.0, float("inf"))
    last = allowed - 1
    return OperatingPoint(float(fakes[last] / fakes[-1]), float(reals[last] / reals[-1]), float(threshold[last]))


def confusion(is_fake: ArrayLike, verdicts: Sequence[Verdict]) -> Confusion:
    """Counts n images by label, bool[n], and verdict."""
    truth = _flags(is_fake)
    if truth.shape != (len(verdicts),):
        raise ValueError(f"labels of shape {truth.shape} and {len(verdicts)} verdicts")
    count = Counter(zip(truth.tolist(), map(Verdict, verdicts), strict=True))
    return Confusion(
        fake_as_fake=count[True, Verdict.FAKE],
        fake_as_real=count[True, Verdict.REAL],
        fake_uncertain=count[True, Verdict.UNCERTAIN],
        real_as_real=count[False, Verdict.REAL],
        real_as_fake=count[False, Verdict.FAKE],
        real_uncertain=count[False, Verdict.UNCERTAIN],
    )


def wilson(successes: int, count: int, confidence: float = 0.95) -> Interval:
    """Interval of the probability behind `successes` of `count` independent trials (Wilson 1927); NaN without trials.

    Raises ValueError unless 0 <= successes <= count and 0 < confidence < 1.
    """
    if not 0 <= successes <= count:
        raise ValueError(f"successes must be 0 to {count}, got {successes}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, got {confidence}")
    if not count:
        return Interval(float("nan"), float("nan"))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / count
    middle = share + z * z / (2 * count)
    half = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    scale = 1 + z * z / count
    # Rounding would miss the exact ends of 0 of n and n of n.
    low = (middle - half) / scale if successes else 0.0
    high = (middle + half) / scale if successes < count else 1.0
    return Interval(low, high)


def labelled_scores(is_fake: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels and scores as bool[n] and float64[n], checked as this module says."""
    truth, values = _flags(is_fake), np.asarray(score, dtype=np.float64)
    _check_lengths(truth, values)
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN")
    return truth, values


def _labelled_flags(is_fake: ArrayLike, says_fake: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    truth, said = _flags(is_fake), _flags(says_fake)
    _check_lengths(truth, said)
    return truth, said


def _flags(values: ArrayLike) -> NDArray[np.bool_]:
    array: NDArray[Any] = np.asarray(values)
    if array.dtype != np.bool_:
        raise TypeError(f"labels must be bool, got {array.dtype}")
    return array


def _check_lengths(truth: NDArray[np.bool_], values: NDArray[Any]) -> None:
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(f"labels of shape {truth.shape} and values of shape {values.shape} must be of one length")


def _called_fake(
    truth: NDArray[np.bool_], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """The distinct scores, highest first, and how many fake and how many real images score at or above each."""
    distinct, place = np.unique(values, return_inverse=True)
    fakes = np.bincount(place[truth], minlength=len(distinct))
    reals = np.bincount(place[~truth], minlength=len(distinct))
    return distinct[::-1], fakes[::-1].cumsum(), reals[::-1].cumsum()
