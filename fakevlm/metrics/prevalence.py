"""How many images of a population are fake, from a stratified sample that people have labelled, and how sure that is.

fakes = fakes_in_strata(rows=[950_000, 50_000], reviewed=[300, 300], hits=[0, 41])
fakes.value / 1_000_000, fakes.low / 1_000_000, fakes.high / 1_000_000

`benchmarks/audit_intervals.py` holds their coverage to 95 ± 2 %.
"""

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fakevlm.metrics.stratified import CONFIDENCE, StratifiedSample

DRAWS = 20_000
"""Draws of a detector's error rates: the ends of an interval move by about 1 % of its width from seed to seed."""
MIN_FOUND = 6
"""Fakes, and real images, that a sample must have found for an interval. Counts are whole numbers: with fewer, no
interval covers the truth in 95 % of all samples, only in 90 % or in 99 %. Then it is a bound on one side.
"""


class Kind(StrEnum):
    """What the ends of an estimate are."""

    INTERVAL = "interval"
    AT_MOST = "at_most"
    """The upper end holds with 95 % confidence (and a little more) alone, and the lower one is no claim."""
    AT_LEAST = "at_least"
    """The lower end alone does."""


class Estimate(NamedTuple):
    """A number and where it lies with 95 % confidence."""

    value: float
    """NaN where a part of the population was not looked at at all."""
    low: float
    high: float
    kind: Kind = Kind.INTERVAL

    def __truediv__(self, whole: float) -> "Estimate":
        """The same as a share of `whole`."""
        return Estimate(self.value / whole, self.low / whole, self.high / whole, self.kind)


class ErrorRates(NamedTuple):
    """What a detector did on labelled images that are like those of the population: counts."""

    fakes: int
    found: int
    """Fake images that it called fake."""
    reals: int
    false_alarms: int
    """Real images that it called fake."""


def fakes_in_strata(rows: ArrayLike, reviewed: ArrayLike, hits: ArrayLike, *, seed: int = 0) -> Estimate:
    """The number of fakes in a population of strata, each of which was sampled at random without replacement.

    `rows`, `reviewed` and `hits`, int[strata]: images, labelled ones, and those of them that are fake. The value is
    Horvitz and Thompson's (1952) estimate; the interval is that of `StratifiedSample`, or a bound on one side where
    fewer than `MIN_FOUND` of either kind were found. A stratum of which nobody has looked at an image may hold
    anything. Raises ValueError for counts that contradict each other.
    """
    sizes, seen, fakes = (np.asarray(counts, np.int64) for counts in (rows, reviewed, hits))
    if not ((fakes >= 0) & (fakes <= seen) & (seen <= sizes)).all():
        raise ValueError(f"strata of {sizes} rows cannot have {seen} reviewed and {fakes} fakes among them")
    known, unknown = int(fakes[seen == sizes].sum()), int(sizes[seen == 0].sum())
    value = float((sizes * fakes / np.maximum(seen, 1)).sum()) if not unknown else math.nan
    open_ = (seen > 0) & (seen < sizes)
    if not open_.any():
        return Estimate(value, known, known + unknown)
    sample, kind = StratifiedSample(sizes[open_], seen[open_], fakes[open_], seed=seed), kind_of(seen, fakes)
    # Strata that were seen entirely have no uncertainty: it is the others that need hits for an interval.
    inner = kind_of(seen[open_], fakes[open_])
    if inner is Kind.INTERVAL:
        low, high = sample.interval()
    elif inner is Kind.AT_MOST:
        low, high = sample.least, sample.upper_bound()
    else:
        low, high = sample.lower_bound(), sample.most
    low, high = low + known, high + known + unknown
    return Estimate(
        value,
        0 if kind is Kind.AT_MOST else _below(low, value),
        int(sizes.sum()) if kind is Kind.AT_LEAST else _above(high, value),
        kind,
    )


def kind_of(reviewed: ArrayLike, hits: ArrayLike) -> Kind:
    """What a sample with these counts can tell, int[strata]."""
    found = int(np.sum(hits))
    passed = int(np.sum(reviewed)) - found
    if min(found, passed) >= MIN_FOUND:
        return Kind.INTERVAL
    return Kind.AT_MOST if found <= passed else Kind.AT_LEAST


def rogan_gladen(flagged: int, rows: int, rates: ErrorRates, *, seed: int = 0) -> Estimate:
    """The share of fakes from the share of flagged images alone, by what is known of the detector's errors.

    Rogan and Gladen (1978), (t + Sp - 1) / (Se + Sp - 1), clipped to 0 to 1; the interval has the uncertainty of Se and
    Sp, each from its own labelled images, and of the flagged share (melded, as Bayer, Fay and Graubard 2023). It is all
    from 0 to 1 where the labels do not show that the detector flags fakes more often than real images.
    """
    ends = rogan_gladen_intervals(
        np.array([flagged]), rows, *(np.array([count]) for count in (rates.found, rates.false_alarms)),
        fakes=rates.fakes, reals=rates.reals, seed=seed,
    )[0]  # fmt: skip
    low, high = float(ends[0]), float(ends[1])
    if not (rates.fakes and rates.reals and rows):
        return Estimate(math.nan, low, high)
    found, alarms = rates.found / rates.fakes, rates.false_alarms / rates.reals
    if found <= alarms:
        return Estimate(math.nan, low, high)
    value = min(1.0, max(0.0, (flagged / rows - alarms) / (found - alarms)))
    return Estimate(value, _below(low, value), _above(high, value))


def rogan_gladen_intervals(
    flagged: NDArray[np.int64],
    rows: int,
    found: NDArray[np.int64],
    false_alarms: NDArray[np.int64],
    *,
    fakes: int,
    reals: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The interval's ends, float64[audits, 2], for many audits; counts int64[audits]."""
    rng = np.random.default_rng(seed)

    def rates(hits: NDArray[np.int64], of: int) -> NDArray[np.float64]:
        return rng.beta(hits[:, None] + 0.5, of - hits[:, None] + 0.5, (len(hits), draws))

    share, sensitivity, alarms = rates(flagged, rows), rates(found, fakes), rates(false_alarms, reals)
    gain = sensitivity - alarms
    with np.errstate(divide="ignore", invalid="ignore"):
        prevalence = ((share - alarms) / gain).clip(0, 1)
    ends: NDArray[np.float64] = np.quantile(prevalence, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1).T
    # A detector that may be no better than a coin says nothing.
    ends[(gain <= 0).mean(axis=1) > (1 - CONFIDENCE) / 2] = 0, 1
    return ends


def _below(end: float, value: float) -> float:
    """An end with the value inside: a skewed interval may leave it out by a hair."""
    return end if math.isnan(value) else min(end, value)


def _above(end: float, value: float) -> float:
    return end if math.isnan(value) else max(end, value)
