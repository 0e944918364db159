"""Tests of how many fakes a stratified population has, exact enough for a handful of hits, and the intervals they give.

A number of fakes lies in the 95 % interval when a sample like the one at hand is not too unlikely under it. How
unlikely is measured by the likelihood ratio, its distribution under that number by simulation (by enumeration, where
there is one stratum), at the most likely division of the fakes among the strata: Feldman and Cousins (1998) with a
profiled nuisance, as Chuang and Lai (2000). Half of the probability of what was seen counts, so that intervals of whole
numbers cover 95 % on average and not 97 % (mid-p, Lancaster 1961). Other than a tail on either side it gives a stratum
without a hit, which can only push the upper end, no share of the error at the lower one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
BOUND_CONFIDENCE = 0.96
"""Of a bound on one side. Where about six hits are expected some samples give a bound and some an interval, and both
may miss: at 95 % the two together would cover the truth in 92 % there.
"""
SIMULATED = 2_000
"""Samples under each number that is tested: an interval's ends move by about 2 % of its width from seed to seed."""
_TOLERANCE = 500
"""The ends are found to one in so many of themselves."""
_NUMPYS_MOST = 10**9
"""Images from which numpy draws with replacement only; it makes no difference there."""
_HALVINGS = 32


class TestResult(NamedTuple):
    """How probable samples are that speak against a number of fakes at least as much as the one at hand."""

    both: float
    """Of those that have too many or too few fakes; half of those that are equally improbable."""
    at_most: float
    """Of those with as few fakes, or fewer."""
    at_least: float
    """Of those with as many, or more."""


@dataclass(frozen=True)
class StratifiedSample:
    """A sample of images from strata, none of which is empty, unseen or seen entirely: int64[strata]."""

    rows: NDArray[np.int64]
    reviewed: NDArray[np.int64]
    hits: NDArray[np.int64]
    seed: int = 0
    simulated: int = SIMULATED

    @property
    def least(self) -> int:
        """Fakes that there are at least: those that were seen."""
        return int(self.hits.sum())

    @property
    def most(self) -> int:
        """Fakes that there are at most: all but the images that were seen to be real."""
        return int(self.rows.sum() - (self.reviewed - self.hits).sum())

    def test(self, fakes: int) -> TestResult:
        """Test a number of fakes in the population, from `least` to `most`."""
        # Images that were drawn without replacement tell as much as so many more drawn with it.
        weight: NDArray[np.float64] = (self.rows - 1).astype(np.float64) / (self.rows - self.reviewed)
        reviewed = self.reviewed.astype(np.float64) * weight
        seen = _likelihood_ratio(self.rows, reviewed, self.hits.astype(np.float64)[None] * weight, fakes)
        divided = _divided(seen.shares[0] * self.rows, self.rows, fakes)
        samples, chance = self._samples(divided)
        found = _likelihood_ratio(self.rows, reviewed, samples.astype(np.float64) * weight, fakes)
        slack = 1e-6 * (1 + seen.ratio[0])
        is_further = found.ratio > seen.ratio[0] + slack
        is_nearer = found.ratio < seen.ratio[0] - slack
        further, equal = chance[is_further].sum(), chance[~is_further & ~is_nearer].sum()
        few = chance[found.root <= seen.root[0] + slack].sum()
        many = chance[found.root >= seen.root[0] - slack].sum()
        return TestResult(float(further + equal / 2), float(few), float(many))

    def interval(self) -> tuple[int, int]:
        """The numbers of fakes between which the truth lies with 95 % confidence."""
        middle = self._middle()

        def holds(fakes: int) -> bool:
            return self.test(fakes).both > 1 - CONFIDENCE

        return self._end(holds, middle, self.least), self._end(holds, middle, self.most)

    def upper_bound(self) -> int:
        """The number that the fakes are not above, with 96 % confidence. No hit gives about 3.2 in `reviewed`."""
        return self._end(lambda fakes: self.test(fakes).at_most > 1 - BOUND_CONFIDENCE, self._middle(), self.most)

    def lower_bound(self) -> int:
        """The number that the fakes are not below, with 96 % confidence."""
        return self._end(lambda fakes: self.test(fakes).at_least > 1 - BOUND_CONFIDENCE, self._middle(), self.least)

    def _middle(self) -> int:
        expanded = float((self.rows * self.hits / self.reviewed).sum())
        return min(self.most, max(self.least, round(expanded)))

    def _end(self, holds: Callable[[int], bool], inside: int, outside: int) -> int:
        """The last number on the way from `inside` to `outside` that holds; it holds inside."""
        if inside == outside or holds(outside):
            return outside
        while abs(outside - inside) > max(1, min(inside, int(self.rows.sum()) - inside) // _TOLERANCE):
            middle = (inside + outside) // 2
            if holds(middle):
                inside = middle
            else:
                outside = middle
        return inside

    def outcomes(self, fakes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All samples of a single stratum, int64[samples, 1], and their probabilities under a number of fakes."""
        return _outcomes(int(self.rows[0]), fakes, int(self.reviewed[0]))

    def _samples(self, fakes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Numbers of hits, int64[samples, strata], and their probabilities, under these numbers of fakes."""
        if len(fakes) == 1:
            return self.outcomes(int(fakes[0]))
        rng = np.random.default_rng(self.seed)
        shape = (self.simulated, len(fakes))
        if self.rows.max() >= _NUMPYS_MOST:
            drawn = rng.binomial(self.reviewed, fakes / self.rows, size=shape)
        else:
            drawn = rng.hypergeometric(fakes, self.rows - fakes, self.reviewed, size=shape)
        samples, counts = np.unique(drawn, axis=0, return_counts=True)
        return samples, counts / self.simulated


class _Ratio(NamedTuple):
    """Likelihood ratios of samples, for a number of fakes against the most likely one: float64[samples]."""

    ratio: NDArray[np.float64]
    root: NDArray[np.float64]
    """Its square root, negative where the sample has fewer fakes than the number leads to expect."""
    shares: NDArray[np.float64]
    """Of fakes in the strata, the most likely ones that make that number: float64[samples, strata]."""


def _likelihood_ratio(
    rows: NDArray[np.int64], reviewed: NDArray[np.float64], hits: NDArray[np.float64], fakes: int
) -> _Ratio:
    """Of samples, float64[samples, strata], whose sizes are those with replacement that tell as much."""
    seen = hits / reviewed
    shares = _most_likely(rows, reviewed, seen, fakes)
    # 0 log 0 is 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(hits > 0, hits * np.log(seen / shares), 0)
        missed = np.where(hits < reviewed, (reviewed - hits) * np.log((1 - seen) / (1 - shares)), 0)
    ratio = np.maximum(2 * (hit + missed).sum(axis=1), 0)
    return _Ratio(ratio, np.sign((seen * rows).sum(axis=1) - fakes) * np.sqrt(ratio), shares)


def _most_likely(
    rows: NDArray[np.int64], reviewed: NDArray[np.float64], seen: NDArray[np.float64], fakes: int
) -> NDArray[np.float64]:
    """The shares in the strata that make `fakes` in all and under which samples are most likely.

    By Lagrange: k/p - (n - k)/(1 - p) is the same in all strata, for each image that one stands for. That multiplier
    is found by halving; its bounds follow from p <= k/(multiplier N), and the same of 1 - p.
    """
    if len(rows) == 1:
        return np.full(seen.shape, fakes / rows[0])
    total = float(rows.sum())
    low = -((1 - seen) * reviewed).sum(axis=1) / max(total - fakes, 1e-9)
    high = (seen * reviewed).sum(axis=1) / max(fakes, 1e-9)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_many = (_shares_at(middle, rows / reviewed, seen) * rows).sum(axis=1) > fakes
        low, high = np.where(too_many, middle, low), np.where(too_many, high, middle)
    return _shares_at((low + high) / 2, rows / reviewed, seen)


def _shares_at(
    multiplier: NDArray[np.float64], weights: NDArray[np.float64], seen: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The root between 0 and 1 of m p^2 - (1 + m) p + seen, in the form that loses no digits."""
    m = multiplier[:, None] * weights
    b = 1 + m
    root = np.sqrt(np.maximum(b * b - 4 * m * seen, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(b > 0, 2 * seen / np.where(b > 0, b + root, 1), (b - root) / (2 * np.where(m == 0, 1, m)))
    return shares.clip(0, 1)


def _divided(expected: NDArray[np.float64], rows: NDArray[np.int64], fakes: int) -> NDArray[np.int64]:
    """Whole numbers near the expected ones that add up to `fakes`."""
    whole = np.minimum(np.floor(expected).astype(np.int64), rows)
    for number in np.argsort(whole - expected, kind="stable"):
        whole[number] += min(max(fakes - int(whole.sum()), 0), int(rows[number] - whole[number]), 1)
    gap = fakes - int(whole.sum())  # what the halving left over
    for number in np.argsort(-rows, kind="stable"):
        step = min(gap, int(rows[number] - whole[number])) if gap > 0 else max(gap, -int(whole[number]))
        whole[number] += step
        gap -= step
    return whole


def _outcomes(rows: int, fakes: int, reviewed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All numbers of hits that a sample of one stratum can have, and their probabilities."""
    hits = np.arange(max(0, reviewed - (rows - fakes)), min(fakes, reviewed) + 1)
    k = hits[:-1].astype(np.float64)
    steps = np.log((fakes - k) * (reviewed - k)) - np.log((k + 1) * (rows - fakes - reviewed + k + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    chances = np.exp(logs - logs.max())
    return hits[:, None], chances / chances.sum()
