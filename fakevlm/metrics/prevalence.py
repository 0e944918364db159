"""How many images of a population are fake, from a stratified sample that people have labelled, and how sure that is.

fakes = fakes_in_strata(rows=[950_000, 50_000], reviewed=[300, 300], hits=[0, 41])
fakes.value / 1_000_000, fakes.low / 1_000_000, fakes.high / 1_000_000

The intervals are chosen by simulation: `benchmarks/audit_intervals.py` holds their coverage to floors.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
PRIOR = 0.5
"""Prior counts of each label, shared by all strata: Jeffreys' prior where there is one stratum. Were it given to every
stratum, those without a hit would add up to fakes that are not there: at 0.1 %, a 95 % interval covers in one of five.
"""
DRAWS = 20_000
"""Draws from the posterior: the ends of an interval move by about 1 % of its width from seed to seed."""


class Estimate(NamedTuple):
    """A number and where it lies with 95 % confidence."""

    value: float
    """NaN where a part of the population was not looked at at all."""
    low: float
    high: float

    def __truediv__(self, whole: float) -> "Estimate":
        """The same as a share of `whole`."""
        return Estimate(self.value / whole, self.low / whole, self.high / whole)


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
    Horvitz and Thompson's (1952) estimate; the interval the middle 95 % of the posterior of the finite population,
    in which images that were looked at are known. Raises ValueError for counts that contradict each other.
    """
    sizes, seen, fakes = (np.asarray(counts, np.int64) for counts in (rows, reviewed, hits))
    ends = fake_intervals(sizes, seen, fakes[None], seed=seed)[0]
    return _with_value(_expanded(sizes, seen, fakes), float(ends[0]), float(ends[1]))


def fake_intervals(
    rows: ArrayLike, reviewed: ArrayLike, hits: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """The interval's ends, float64[audits, 2], of the number of fakes for many samples: hits int[audits, strata]."""
    sizes, seen, fakes = (np.asarray(counts, np.int64) for counts in (rows, reviewed, hits))
    if not ((fakes >= 0) & (fakes <= seen) & (seen <= sizes)).all():
        raise ValueError(f"strata of {sizes} rows cannot have {seen} reviewed and {fakes} fakes among them")
    rng = np.random.default_rng(seed)
    strata = max(1, int((sizes > 0).sum()))
    total = np.zeros((len(fakes), draws))
    for number in range(fakes.shape[1]):
        rest = int(sizes[number] - seen[number])
        # Audits with the same hits share their draws: there are few different ones.
        different, where = np.unique(fakes[:, number], return_inverse=True)
        known = different[:, None]
        a, b = known + PRIOR / strata, seen[number] - known + PRIOR / strata
        share = rng.beta(a, b, (len(different), draws))
        total += (known + rng.binomial(rest, share))[where.ravel()]
    ends: NDArray[np.float64] = np.quantile(total, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=1).T
    if strata == 1:
        _widen_at_the_edges(ends, int(sizes.sum()), int(seen.sum()), fakes.sum(axis=1))
    found, passed = fakes.sum(axis=1), (seen - fakes).sum(axis=1)
    # Nothing found is nothing to set a lower end by; the same from above.
    ends[:, 0] = np.where(found == 0, 0.0, np.maximum(ends[:, 0], found))
    ends[:, 1] = np.where(passed == 0, sizes.sum(), np.minimum(ends[:, 1], sizes.sum() - passed))
    return ends


def _widen_at_the_edges(ends: NDArray[np.float64], rows: int, seen: int, hits: NDArray[np.int64]) -> None:
    """Brown, Cai and DasGupta's (2001) modified Jeffreys interval: with no hit, one, all or all but one.

    Where a share is about 1 in `seen`, Jeffreys' own covers in 87 %. Several strata even each other out.
    """
    if seen:
        most = (rows - seen) * (1 - ((1 - CONFIDENCE) / 2) ** (1 / seen))
        ends[hits == 0, 1] = most
        ends[hits == seen, 0] = rows - most
        ends[hits == 1, 0] = 0  # the one itself is counted in later
        ends[hits == seen - 1, 1] = rows


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
    return _with_value(min(1.0, max(0.0, (flagged / rows - alarms) / (found - alarms))), low, high)


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


def _expanded(rows: NDArray[np.int64], reviewed: NDArray[np.int64], hits: NDArray[np.int64]) -> float:
    if (reviewed[rows > 0] == 0).any():
        return math.nan
    seen = reviewed > 0
    return float((rows[seen] * hits[seen] / reviewed[seen]).sum())


def _with_value(value: float, low: float, high: float) -> Estimate:
    """The estimate with its value inside: a skewed posterior may leave it out by a hair."""
    return Estimate(value, low, high) if math.isnan(value) else Estimate(value, min(low, value), max(high, value))
