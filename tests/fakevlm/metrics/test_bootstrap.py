"""The bootstrap on runs whose difference is known."""

import math

import numpy as np
import pytest

from fakevlm.metrics.bootstrap import paired_bootstrap
from fakevlm.metrics.classification import accuracy, auroc, balanced_accuracy, f1
from fakevlm.metrics.reliability import brier

pytestmark = pytest.mark.unit


def two_runs(
    rng: np.random.Generator, images: int, first: float, second: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the verdicts of two runs that are right with these probabilities."""
    truth = rng.uniform(size=images) < 0.5
    return truth, truth ^ (rng.uniform(size=images) >= first), truth ^ (rng.uniform(size=images) >= second)


def test_a_real_difference_has_a_small_p_value() -> None:
    truth, better, worse = two_runs(np.random.default_rng(0), 2_000, 0.95, 0.90)
    found = paired_bootstrap(accuracy, truth, better, worse, resamples=2_000)
    assert found.difference == accuracy(truth, better) - accuracy(truth, worse)
    assert 0 < found.low < found.difference < found.high
    assert found.p_value == pytest.approx(2 / 2_001)
    swapped = paired_bootstrap(accuracy, truth, worse, better, resamples=2_000)
    assert swapped == pytest.approx((-found.difference, -found.high, -found.low, found.p_value))


def test_equal_runs_do_not_differ() -> None:
    truth, said, _ = two_runs(np.random.default_rng(0), 100, 0.9, 0.9)
    assert paired_bootstrap(accuracy, truth, said, said, resamples=200) == (0.0, 0.0, 0.0, 1.0)


def test_scores_work_as_verdicts_do() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], 150)
    sharp, blunt = truth + rng.normal(size=300) * 0.5, truth + rng.normal(size=300) * 2
    assert paired_bootstrap(auroc, truth, sharp, blunt, resamples=200).low > 0
    within = 1 / (1 + np.exp(-sharp)), 1 / (1 + np.exp(-blunt))
    assert paired_bootstrap(brier, truth, *within, resamples=200).high < 0


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    rounds, held, rejected = 300, 0, 0
    for seed in range(rounds):
        found = paired_bootstrap(accuracy, *two_runs(rng, 200, 0.85, 0.80), resamples=200, seed=seed, confidence=0.9)
        held += found.low <= 0.05 <= found.high
        null = paired_bootstrap(accuracy, *two_runs(rng, 200, 0.85, 0.85), resamples=200, seed=seed)
        rejected += null.p_value < 0.05
    assert 0.84 <= held / rounds <= 0.96
    assert rejected / rounds <= 0.09


def test_the_runs_are_compared_image_by_image() -> None:
    """Both runs are wrong on the same half of the images, the second on five more: paired, that is no chance."""
    truth = np.repeat([True, False], 200)
    first = truth ^ np.tile([True, False], 200)
    second = first.copy()
    second[1:20:2] ^= True
    found = paired_bootstrap(accuracy, truth, first, second, resamples=500)
    assert found.difference == pytest.approx(10 / 400)
    assert found.low > 0


def test_no_draw_lacks_a_class() -> None:
    truth = np.array([True] + [False] * 50)
    said = ~truth
    found = paired_bootstrap(balanced_accuracy, truth, truth, said, resamples=200)
    assert found[:3] == (1.0, 1.0, 1.0)


def test_the_same_seed_gives_the_same_draws() -> None:
    runs = two_runs(np.random.default_rng(0), 300, 0.9, 0.8)
    assert paired_bootstrap(accuracy, *runs, resamples=50) == paired_bootstrap(accuracy, *runs, resamples=50)
    assert paired_bootstrap(accuracy, *runs, resamples=50) != paired_bootstrap(accuracy, *runs, resamples=50, seed=1)


def test_a_metric_that_is_undefined_leaves_the_rest_undefined() -> None:
    fakes = np.array([True, True])
    assert np.isnan(paired_bootstrap(auroc, fakes, [0.1, 0.2], [0.2, 0.1], resamples=5)).all()
    none = np.array([], dtype=np.bool_)
    assert np.isnan(paired_bootstrap(accuracy, none, none, none, resamples=5)).all()
    reals = ~fakes
    found = paired_bootstrap(f1, reals, np.array([True, False]), np.array([True, True]), resamples=50)
    assert found.difference == 0.0
    assert math.isnan(found.p_value)


def test_runs_that_cannot_be_compared_are_refused() -> None:
    truth = np.array([True, False])
    with pytest.raises(TypeError, match="bool"):
        paired_bootstrap(accuracy, [1, 0], truth, truth)
    with pytest.raises(ValueError, match="shapes"):
        paired_bootstrap(accuracy, truth, truth, truth[:1])
    with pytest.raises(ValueError, match="resamples"):
        paired_bootstrap(accuracy, truth, truth, truth, resamples=0)
    with pytest.raises(ValueError, match="confidence"):
        paired_bootstrap(accuracy, truth, truth, truth, confidence=95)
    with pytest.raises(ValueError, match="NaN"):
        paired_bootstrap(auroc, truth, [0.1, math.nan], [0.1, 0.2])
