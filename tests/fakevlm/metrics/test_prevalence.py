"""Intervals of a prevalence: counts that are known by hand, and that they cover the truth as often as they say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fakevlm.metrics.prevalence import (
    ErrorRates,
    Kind,
    fakes_in_strata,
    kind_of,
    rogan_gladen,
    rogan_gladen_intervals,
)
from fakevlm.metrics.stratified import StratifiedSample

pytestmark = pytest.mark.unit

Counts = NDArray[np.int64]


def test_the_estimate_is_horvitz_and_thompsons() -> None:
    found = fakes_in_strata([9000, 1000], [300, 100], [3, 40])
    assert found.value == pytest.approx(9000 * 3 / 300 + 1000 * 40 / 100)
    assert found.low < found.value < found.high


def test_a_census_is_certain() -> None:
    assert fakes_in_strata([50, 10], [50, 10], [2, 9])[:3] == (11, 11, 11)


def test_images_that_were_seen_bound_the_number() -> None:
    found = fakes_in_strata([60], [50], [10])
    assert found.low >= 10
    assert found.high <= 20


def test_no_hit_has_no_lower_end_and_an_upper_one_by_the_rule_of_three() -> None:
    found = fakes_in_strata([1_000_000], [300], [0])
    assert (found.value, found.low, found.kind) == (0, 0, Kind.AT_MOST)
    assert found.high / 1_000_000 == pytest.approx(3.2 / 300, rel=0.02)


def test_a_large_stratum_without_a_hit_widens_the_whole() -> None:
    """95 % of the images, of which 300 were seen without a hit, may hold a percent of fakes all the same."""
    found = fakes_in_strata([950_000, 50_000], [300, 300], [0, 41])
    assert found.kind is Kind.INTERVAL
    assert found.value == pytest.approx(6833, rel=0.001)
    assert 4800 < found.low < 5500
    assert found.high > 6833 + 0.7 * 950_000 * 3 / 300


def test_fakes_in_a_part_that_was_seen_entirely_are_certain() -> None:
    """And those elsewhere, of which no image was fake, are bounded as if they stood alone."""
    found, alone = fakes_in_strata([100_000, 80], [100, 80], [0, 30]), fakes_in_strata([100_000], [100], [0])
    assert found == (30, 30, 30 + alone.high, Kind.INTERVAL)


@pytest.mark.parametrize(("hits", "kind"), [(0, "at_most"), (5, "at_most"), (6, "interval"), (95, "at_least")])
def test_few_of_either_kind_make_a_bound(hits: int, kind: str) -> None:
    found = fakes_in_strata([9000, 1000], [60, 40], [min(hits, 60), max(0, hits - 60)])
    assert found.kind == kind
    assert found.low <= found.value <= found.high
    if kind == "at_most":
        assert found.low == 0
    if kind == "at_least":
        assert found.high == 10_000


def test_a_bound_of_one_stratum_is_clopper_and_pearsons() -> None:
    """Of a large population: with 3 hits of 100 the share under which 3 or fewer come in 4 of 100 samples."""
    found = fakes_in_strata([10_000_000], [100], [3])
    assert found.high / 10_000_000 == pytest.approx(0.0788, rel=0.003)


def test_a_stratum_nobody_looked_at_may_hold_anything() -> None:
    found = fakes_in_strata([1000, 1000], [0, 1000], [0, 0])
    assert np.isnan(found.value)
    assert (found.low, round(found.high / 1000)) == (0, 1)


def test_labels_and_their_opposites_are_treated_alike() -> None:
    fakes = fakes_in_strata([9000, 1000], [300, 100], [3, 40])
    reals = fakes_in_strata([9000, 1000], [300, 100], [297, 60])
    assert 10_000 - reals.low == pytest.approx(fakes.high, rel=0.02)
    assert 10_000 - reals.high == pytest.approx(fakes.low, rel=0.02)


def test_more_images_than_numpy_draws_without_replacement() -> None:
    found = fakes_in_strata([3_000_000_000, 1_000_000], [300, 200], [7, 40])
    assert found.low < found.value < found.high < 2.2 * found.value


@pytest.mark.parametrize("rows", [[6], [8, 5], [30, 12, 9]])
def test_small_populations_are_counted_in_whole_images(rows: list[int]) -> None:
    """Every sample of a population of a few images: the interval holds the truth, and nothing that was seen goes."""
    for fakes in range(rows[0] + 1):
        sample = [rows[0] // 2 + 1, *rows[1:]]
        seen = min(fakes, sample[0])
        found = fakes_in_strata(rows, sample, [seen, *(0 for _ in rows[1:])])
        assert 0 <= found.low <= found.value <= found.high <= sum(rows)
        if found.kind is Kind.INTERVAL:
            assert seen <= found.low <= found.high <= sum(rows) - (sum(sample) - seen)


@pytest.mark.parametrize(("rows", "reviewed", "hits"), [([5], [6], [0]), ([5], [3], [4]), ([5], [3], [-1])])
def test_counts_that_contradict_each_other(rows: list[int], reviewed: list[int], hits: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        fakes_in_strata(rows, reviewed, hits)


def holds(rows: Counts, drawn: Counts, hits: Counts, truth: int, simulated: int = 300) -> bool:
    sample = StratifiedSample(rows, drawn, hits, simulated=simulated)
    if not sample.least <= truth <= sample.most:
        return False
    found = sample.test(truth)
    kind = kind_of(drawn, hits)
    if kind is Kind.INTERVAL:
        return found.both > 0.05
    return (found.at_most if kind is Kind.AT_MOST else found.at_least) > 0.04


@pytest.mark.parametrize("drawn", [50, 120, 400])
@pytest.mark.parametrize("expected", [7, 10, 15, 20, 25])
def test_one_stratum_covers_the_truth_in_95_of_100_samples(drawn: int, expected: int) -> None:
    """Summed over all outcomes: nothing here is simulated."""
    rows, truth = 200_000, round(200_000 * expected / drawn)
    outcomes, chances = StratifiedSample(*(np.array([n]) for n in (rows, drawn, 0))).outcomes(truth)
    covered = sum(
        chance
        for one, chance in zip(outcomes, chances, strict=True)
        if chance > 1e-9 and holds(np.array([rows]), np.array([drawn]), one, truth)
    )
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("expected", [0.1, 0.5, 1.0, 2.0, 2.9])
def test_a_bound_covers_the_truth_in_93_of_100_samples_or_more(expected: float) -> None:
    rows, drawn, truth = 200_000, 100, round(2000 * expected)
    outcomes, chances = StratifiedSample(*(np.array([n]) for n in (rows, drawn, 0))).outcomes(truth)
    covered = sum(
        chance
        for one, chance in zip(outcomes, chances, strict=True)
        if chance > 1e-9 and holds(np.array([rows]), np.array([drawn]), one, truth)
    )
    assert covered >= 0.93


@pytest.mark.parametrize("shares", [(0, 0.001, 0.3), (0.0002, 0.01, 0.3)])
def test_strata_together_cover_the_truth(shares: tuple[float, ...]) -> None:
    """Most of the population in strata with no hit or few: a prior for each of them would leave the truth below."""
    rows, drawn = np.array([700_000, 250_000, 50_000]), np.array([200, 200, 200])
    fakes = np.round(rows * shares).astype(int)
    hits = np.random.default_rng(1).hypergeometric(fakes, rows - fakes, drawn, size=(1000, 3))
    different, counts = np.unique(hits, axis=0, return_counts=True)
    held = [holds(rows, drawn, one, int(fakes.sum())) for one in different]
    assert 0.93 <= (counts * held).sum() / counts.sum() <= 0.97


def test_an_interval_ends_where_its_test_does() -> None:
    rows, drawn, hits = np.array([700_000, 50_000]), np.array([200, 100]), np.array([3, 40])
    found = fakes_in_strata(rows, drawn, hits)
    for end, inwards in ((found.low, 1.05), (found.high, 0.95)):
        assert holds(rows, drawn, hits, round(end * inwards), 2000)
        assert not holds(rows, drawn, hits, round(end / inwards), 2000)


def test_rogan_gladen_by_hand() -> None:
    rates = ErrorRates(fakes=1000, found=800, reals=10_000, false_alarms=100)
    found = rogan_gladen(50_000, 1_000_000, rates)
    assert found.value == pytest.approx((0.05 - 0.01) / (0.8 - 0.01))
    assert found.low < found.value < found.high


def test_rogan_gladen_cannot_tell_from_zero_what_false_alarms_explain() -> None:
    found = rogan_gladen(10_000, 1_000_000, ErrorRates(fakes=100, found=80, reals=1000, false_alarms=10))
    assert found.low == 0
    assert 0.005 < found.high < 0.02


def test_a_detector_no_better_than_a_coin_says_nothing() -> None:
    found = rogan_gladen(10_000, 100_000, ErrorRates(fakes=20, found=3, reals=20, false_alarms=2))
    assert (found.low, found.high) == (0, 1)


def test_rogan_gladen_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    flagged = np.full(600, round(1_000_000 * (0.01 * 0.8 + 0.99 * 0.02)))
    ends = rogan_gladen_intervals(
        flagged,
        1_000_000,
        rng.binomial(500, 0.8, 600),
        rng.binomial(2000, 0.02, 600),
        fakes=500,
        reals=2000,
        draws=1000,
    )
    assert 0.93 <= ((ends[:, 0] <= 0.01) & (ends[:, 1] >= 0.01)).mean() <= 0.98
