"""Whether two runs on the same images differ by more than chance."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metric = Callable[[NDArray[np.bool_], NDArray[Any]], float]
"""A function of labels, bool[n] with True for fake, and of what a run says of each image, such as `metrics.auroc`."""


class Difference(NamedTuple):
    """By how much the first run's metric is above the second's."""

    difference: float
    """On the images themselves."""
    low: float
    """Lower end of the confidence interval, included; unit of the metric."""
    high: float
    p_value: float
    """Two-sided, for no difference; never below 2 / (resamples + 1)."""


def paired_bootstrap(
    metric: Metric,
    is_fake: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """Compares two runs by drawing their images anew, with replacement (Efron and Tibshirani 1993, percentiles).

    Labels are bool[n] with True for fake; `first` and `second` are [n] of what the metric takes. Both runs get the same
    images in each draw, as many fake and real ones as there are, so that no draw lacks a class. All but the difference
    is NaN where the metric is NaN in some draw. 10,000 draws of 5,000 images take 1 s for accuracy, 5 s for AUROC.
    Raises TypeError for labels that are not bool; ValueError for unequal lengths, resamples below 1 and a confidence
    that is not a share; and what the metric raises.
    """
    truth: NDArray[Any] = np.asarray(is_fake)
    one, other = np.asarray(first), np.asarray(second)
    if truth.dtype != np.bool_:
        raise TypeError(f"labels must be bool, got {truth.dtype}")
    if truth.ndim != 1 or not truth.shape == one.shape == other.shape:
        raise ValueError(f"labels, first and second have shapes {truth.shape}, {one.shape} and {other.shape}, not one")
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, got {confidence}")
    difference = metric(truth, one) - metric(truth, other)
    rng = np.random.default_rng(seed)
    fakes, reals = np.flatnonzero(truth), np.flatnonzero(~truth)
    labels = np.repeat([True, False], [len(fakes), len(reals)])
    drawn = np.empty(resamples)
    for number in range(resamples):
        chosen = np.concatenate([group[rng.integers(len(group), size=len(group))] for group in (fakes, reals)])
        drawn[number] = metric(labels, one[chosen]) - metric(labels, other[chosen])
    if np.isnan(drawn).any():
        return Difference(difference, float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    # The data themselves count as one more draw, so that p is never 0 (Davison and Hinkley 1997, section 4.2).
    tail = (1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))) / (resamples + 1)
    return Difference(difference, float(low), float(high), min(1.0, 2 * tail))
