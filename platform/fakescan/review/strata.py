"""Cuts a run into strata of scores, and says how many images to draw from each."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from fakescan.review.histogram import BIN, BIN_STARTS, VERDICTS, Histogram
from fakescan.review.plan import Stratum
from fakevlm.verdict import Calibration, score_of

STRATA = 6
"""Strata of a sample for a prevalence, about: more of them gain little, and each needs its images."""
MIN_DRAWN = 50
"""Images of each stratum, where it has so many and the sample is large enough: a stratum is not believed to be clean
unseen, and the share of fakes in it is told by an interval that covers what it says."""
_FLOOR = 0.001
"""Share of fakes that is expected everywhere at least, whatever the scores say."""
_NEAR = 0.02
"""Share of the images that count as near the threshold, at least."""
_NEAR_DRAWN = 0.8
"""Share of a sample around the threshold that is near it."""


def estimate_strata(histogram: Histogram, n: int, calibration: Calibration) -> list[Stratum]:
    """Strata for a prevalence: no stratum has two verdicts, each has about the same spread of expected fakes.

    Borders by Dalenius and Hodges (1959), numbers by Neyman (1934), both by the shares of fakes that the scores lead
    to expect. Those may be wrong: then the interval gets wider, and not wrong.
    """
    spread = histogram.counts * expected_spread(histogram, calibration)
    strata, weights = list[Stratum](), list[float]()
    wanted = max(2, min(STRATA, n // MIN_DRAWN))
    for number, verdict in enumerate(VERDICTS):
        pieces = max(1, round(wanted * spread[number].sum() / max(spread.sum(), 1e-300)))
        for first, last in _pieces(spread[number], histogram.counts[number], pieces):
            strata.append(_stratum(verdict, histogram.counts[number], first, last, calibration))
            weights.append(float(spread[number, first:last].sum()))
    return with_drawn(strata, allocate([stratum.rows for stratum in strata], weights, n))


def threshold_strata(histogram: Histogram, n: int, calibration: Calibration) -> list[Stratum]:
    """Strata around the border between fake and not fake: most images of the sample lie near it, some elsewhere."""
    border = calibration.temperature * (
        math.log(calibration.threshold / (1 - calibration.threshold)) - calibration.bias
    )
    distance = np.abs(BIN_STARTS + BIN / 2 - border)
    order = np.argsort(distance, kind="stable")
    reached = np.cumsum(histogram.counts.sum(axis=0)[order])
    enough = int(np.searchsorted(reached, max(_NEAR * histogram.rows, 4 * n)))
    is_near = np.zeros(len(BIN_STARTS), bool)
    is_near[order[: enough + 1]] = True
    strata, weights = list[Stratum](), list[float]()
    for number, verdict in enumerate(VERDICTS):
        counts = histogram.counts[number]
        if not counts.sum():
            continue
        near = np.flatnonzero(is_near)
        cuts = sorted({0, int(near[0]), int(near[-1]) + 1, len(counts)})
        for first, last in itertools.pairwise(cuts):
            if counts[first:last].sum():
                strata.append(_stratum(verdict, counts, first, last, calibration))
                weights.append(_NEAR_DRAWN if is_near[first] else 1 - _NEAR_DRAWN)
    kinds = [sum(weight == other for other in weights) for weight in weights]
    shares = [weight / kind for weight, kind in zip(weights, kinds, strict=True)]
    return with_drawn(strata, allocate([stratum.rows for stratum in strata], shares, n))


def expected_spread(histogram: Histogram, calibration: Calibration) -> NDArray[np.float64]:
    """The standard deviation of an image's label that its score leads to expect, float64[bins].

    The scores' probabilities hold at the share of fakes that they were fitted at; that of this run is found from the
    scores themselves (Saerens, Latinne and Decaestecker 2002).
    """
    counts = histogram.counts.sum(axis=0)
    line = ((BIN_STARTS + BIN / 2) / calibration.temperature + calibration.bias).clip(-30, 30)
    odds, share = np.exp(line), 0.05
    for _ in range(200):
        probability = share * odds / (share * odds + 1 - share)
        share = min(1 - 1e-6, max(1e-6, float((counts * probability).sum() / max(counts.sum(), 1))))
    bounded = probability.clip(_FLOOR, 1 - _FLOOR)
    spread: NDArray[np.float64] = np.sqrt(bounded * (1 - bounded))
    return spread


def allocate(sizes: list[int], weights: list[float], n: int, *, at_least: list[int] | None = None) -> list[int]:
    """Numbers of images to draw from strata of these sizes: `n` in all, by weight, at least some of each.

    `at_least`: how many were drawn before, of which none is given back.
    """
    room = np.array(sizes, np.int64)
    least = max(1, min(MIN_DRAWN, n // (2 * max(1, len(sizes)))))  # an image without a chance is in no number
    drawn = np.minimum(room, np.maximum(least, at_least if at_least is not None else 0))
    left = min(n, int(room.sum())) - int(drawn.sum())
    if left <= 0:
        return [int(number) for number in drawn]
    shares = np.maximum(np.array(weights, np.float64), 1e-12)
    # The level at which images are drawn by weight: strata that have more than that already get none.
    low, high = 0.0, float((room / shares).max())
    for _ in range(100):
        level = (low + high) / 2
        total = np.clip(np.floor(level * shares), drawn, room).sum()
        low, high = (level, high) if total <= drawn.sum() + left else (low, level)
    drawn = np.clip(np.floor(low * shares), drawn, room).astype(np.int64)
    for _ in range(min(n, int(room.sum())) - int(drawn.sum())):
        gap = np.where(drawn < room, low * shares - drawn, -np.inf)
        drawn[int(np.argmax(gap))] += 1
    return [int(number) for number in drawn]


def with_drawn(strata: list[Stratum], drawn: list[int]) -> list[Stratum]:
    """The strata with these numbers of images to draw."""
    return [stratum.model_copy(update={"drawn": number}) for stratum, number in zip(strata, drawn, strict=True)]


def _pieces(spread: NDArray[np.float64], counts: NDArray[np.int64], pieces: int) -> list[tuple[int, int]]:
    """Ranges of bins with about equal sums of spread; none is without rows, and together they hold all bins."""
    if not counts.sum():
        return []
    reached = np.cumsum(spread)
    marks = np.searchsorted(reached, reached[-1] * np.arange(1, pieces) / pieces) + 1
    cuts = sorted({0, *marks.tolist(), len(counts)})
    found: list[tuple[int, int]] = []
    for first, last in itertools.pairwise(cuts):
        if counts[first:last].sum():
            found.append((found[-1][1] if found else 0, last))
    return [*found[:-1], (found[-1][0], len(counts))]


def _stratum(verdict: str, counts: NDArray[np.int64], first: int, last: int, calibration: Calibration) -> Stratum:
    low = None if not first else float(BIN_STARTS[first])
    high = None if last == len(counts) else float(BIN_STARTS[last])
    there = first + np.flatnonzero(counts[first:last])
    ends = (BIN_STARTS[there[0]], BIN_STARTS[there[-1]] + BIN)
    scores = _score_words(*(score_of(float(end), calibration) for end in ends))
    return Stratum(
        name=f"{verdict} {scores}", verdict=verdict, low=low, high=high, rows=int(counts[first:last].sum()), drawn=0
    )


def _score_words(low: float, high: float) -> str:
    """Two scores in as few digits as tell them apart; one where six digits do not."""
    for digits in range(2, 7):
        texts = f"{low:.{digits}f}", f"{high:.{digits}f}"
        if texts[0] != texts[1]:
            return f"{texts[0]}-{texts[1]}"
    return f"{low:.2f}"
