"""Shares of groups of very different sizes made comparable: a group of three says little, and must not lead a ranking.

prior = fit_prior(hits=[3, 0, 500], trials=[3, 40, 1000])
shares = shrunk_shares(hits=[3, 0, 500], trials=[3, 40, 1000], prior=prior)
shares.low.argsort()[::-1]  # the worst groups first
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
MIN_WEIGHT = 2.0
"""Least weight of a prior, in trials: with less, three of three would be a share of nearly one."""
MAX_WEIGHT = 1e6

_STEPS = 36
"""Halvings of the interval that a quantile lies in: to 1e-11."""
_CONVERGED = 1e-10
_TERMS = 20_000
_TINY = 1e-300


class Prior(NamedTuple):
    """A beta distribution of shares: what is expected of a group before anything of it is seen."""

    hits: float
    misses: float

    @property
    def mean(self) -> float:
        """The share of hits that it expects."""
        return self.hits / (self.hits + self.misses)


class Shares(NamedTuple):
    """Shares of groups, float64[groups] each: the posterior's mean, and its middle 95 %."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def fit_prior(hits: ArrayLike, trials: ArrayLike) -> Prior:
    """The beta-binomial distribution that groups come from, by Kleinman's (1973) moments, weighted by their trials.

    `hits` and `trials`: int[groups]. Groups without trials say nothing.
    """
    found, sizes = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    found, sizes = found[sizes > 0], sizes[sizes > 0]
    total, groups = float(sizes.sum()), len(sizes)
    share = (float(found.sum()) + 0.5) / (total + 1.0)
    binomial = share * (1 - share)
    room = total - float((sizes**2).sum()) / total - (groups - 1) if total else 0.0
    if groups < 2 or room <= 0:
        return Prior(share * MIN_WEIGHT, (1 - share) * MIN_WEIGHT)
    spread = float((sizes * (found / sizes - share) ** 2).sum())
    correlation = (spread / binomial - (groups - 1)) / room
    weight = 1 / correlation - 1 if correlation > 0 else MAX_WEIGHT
    weight = min(max(weight, MIN_WEIGHT), MAX_WEIGHT)
    return Prior(share * weight, (1 - share) * weight)


def shrunk_shares(hits: ArrayLike, trials: ArrayLike, prior: Prior) -> Shares:
    """The share of each group, drawn towards the prior's mean, the more the fewer trials it has; int[groups] each."""
    pairs = np.stack([np.asarray(hits, np.float64), np.asarray(trials, np.float64)])
    different, where = np.unique(pairs, axis=1, return_inverse=True)
    a, b = different[0] + prior.hits, different[1] - different[0] + prior.misses
    tail = (1 - CONFIDENCE) / 2
    low, high = beta_quantile(a, b, tail), beta_quantile(a, b, 1 - tail)
    where = where.reshape(-1)
    return Shares((a / (a + b))[where], low[where], high[where])


def rough_low(hits: ArrayLike, trials: ArrayLike, prior: Prior) -> NDArray[np.float64]:
    """About the lower ends, float64[groups], from the posterior's moments: enough to choose whom to look at."""
    a = np.asarray(hits, np.float64) + prior.hits
    b = np.asarray(trials, np.float64) - np.asarray(hits, np.float64) + prior.misses
    mean = a / (a + b)
    rough: NDArray[np.float64] = mean - 1.96 * np.sqrt(mean * (1 - mean) / (a + b + 1))
    return rough


def beta_quantile(a: NDArray[np.float64], b: NDArray[np.float64], probability: float) -> NDArray[np.float64]:
    """Quantiles of beta distributions, float64[groups], by bisection of the distribution function."""
    low, high = np.zeros(len(a)), np.ones(len(a))
    scale = _log_beta(a, b)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        below = _beta_cdf(middle, a, b, scale) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _beta_cdf(
    x: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The regularised incomplete beta function (Numerical Recipes, section 6.4); `scale` is the beta function's log."""
    swap = x > (a + 1) / (a + b + 2)
    at, first, second = np.where(swap, 1 - x, x), np.where(swap, b, a), np.where(swap, a, b)
    with np.errstate(divide="ignore"):
        front = np.exp(first * np.log(at) + second * np.log1p(-at) - np.log(first) - scale)
    value = front * _fraction(at, first, second)
    return np.where(swap, 1 - value, value)


def _log_beta(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    values = [math.lgamma(p) + math.lgamma(q) - math.lgamma(p + q) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    return np.array(values, np.float64)


def _fraction(x: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The continued fraction by Lentz' method; what has converged is not gone on with."""
    result: NDArray[np.float64] = np.empty(len(x))
    places: NDArray[np.int64] = np.arange(len(x))
    c: NDArray[np.float64] = np.ones(len(x))
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d.copy()
    for m in range(1, _TERMS):
        if not len(places):
            break
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _away_from_zero(1 + even * d), _away_from_zero(1 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _away_from_zero(1 + odd * d), _away_from_zero(1 + odd / c)
        step = d * c
        value *= step
        moving = np.abs(step - 1) > _CONVERGED
        if not moving.all():
            result[places] = value
            x, a, b, c, d, value = (array[moving] for array in (x, a, b, c, d, value))
            places = places[moving]
    result[places] = value
    return result


def _away_from_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(values) < _TINY, _TINY, values)
