"""Intervals of a prevalence: counts that are known by hand, and that they cover the truth as often as they say."""

import numpy as np
import pytest

from fakevlm.metrics.prevalence import (
    ErrorRates,
    fake_intervals,
    fakes_in_strata,
    rogan_gladen,
    rogan_gladen_intervals,
)

pytestmark = pytest.mark.unit


def test_the_estimate_is_horvitz_and_thompsons() -> None:
    found = fakes_in_strata([9000, 1000], [300, 100], [3, 40])
    assert found.value == pytest.approx(9000 * 3 / 300 + 1000 * 40 / 100)
    assert found.low < found.value < found.high


def test_a_census_is_certain() -> None:
    assert fakes_in_strata([50, 10], [50, 10], [2, 9]) == (11, 11, 11)


def test_images_that_were_seen_bound_the_number() -> None:
    found = fakes_in_strata([60], [50], [10])
    assert found.low >= 10
    assert found.high <= 20


def test_no_hit_has_no_lower_end_and_an_upper_one_by_the_rule_of_three() -> None:
    found = fakes_in_strata([1_000_000], [300], [0])
    assert (found.value, found.low) == (0, 0)
    assert found.high / 1_000_000 == pytest.approx(3.69 / 300, rel=0.02)


def test_a_stratum_nobody_looked_at_may_hold_anything() -> None:
    found = fakes_in_strata([1000, 1000], [0, 1000], [0, 0])
    assert np.isnan(found.value)
    assert (found.low, round(found.high / 1000)) == (0, 1)


def test_labels_and_their_opposites_are_treated_alike() -> None:
    fakes = fakes_in_strata([9000, 1000], [300, 100], [3, 40])
    reals = fakes_in_strata([9000, 1000], [300, 100], [297, 60])
    assert 10_000 - reals.low == pytest.approx(fakes.high, rel=0.02)


@pytest.mark.parametrize(("rows", "reviewed", "hits"), [([5], [6], [0]), ([5], [3], [4]), ([5], [3], [-1])])
def test_counts_that_contradict_each_other(rows: list[int], reviewed: list[int], hits: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        fakes_in_strata(rows, reviewed, hits)


@pytest.mark.parametrize("shares", [(0, 0, 0.02), (0.0002, 0.002, 0.3), (0.02, 0.1, 0.9)])
def test_strata_together_cover_the_truth(shares: tuple[float, ...]) -> None:
    """Most of the population in strata without a hit: a prior for each of them would leave the truth below."""
    rows, drawn = np.array([700_000, 250_000, 50_000]), np.array([200, 200, 200])
    fakes = np.round(rows * shares).astype(int)
    hits = np.random.default_rng(1).hypergeometric(fakes, rows - fakes, drawn, size=(600, 3))
    ends = fake_intervals(rows, drawn, hits, draws=1000)
    inside = (ends[:, 0] <= fakes.sum()) & (fakes.sum() <= ends[:, 1])
    assert 0.93 <= inside.mean() <= 0.985


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
