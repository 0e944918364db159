"""Calibration errors against worked values and scikit-learn."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from fakevlm.metrics.reliability import Bin, brier, confidence_ece, ece, even_bins, reliability

pytestmark = pytest.mark.unit

# Scores on the edges of bins are the ones that two ways of counting may disagree on.
scores = st.floats(0, 1) | st.integers(0, 15).map(lambda step: step / 15)
scored = st.lists(st.tuples(st.booleans(), scores), min_size=1, max_size=60)
Pairs = list[tuple[bool, float]]


def columns(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    truth, score = zip(*pairs, strict=True)
    return np.array(truth), np.array(score)


def test_worked_values() -> None:
    truth, score = [True, False, True, False, False], [0.9, 0.8, 0.7, 0.4, 0.2]
    assert reliability(truth, score, bins=2) == [
        Bin(2, pytest.approx(0.3), 0.0),
        Bin(3, pytest.approx(0.8), pytest.approx(2 / 3)),
    ]
    assert ece(truth, score, bins=2) == pytest.approx((2 * 0.3 + 3 * (0.8 - 2 / 3)) / 5)
    # Confidences 0.9, 0.8, 0.7, 0.6 and 0.8, of which the second verdict is wrong; all in the upper of two bins.
    assert confidence_ece(truth, score, bins=2) == pytest.approx(abs(4 / 5 - 3.8 / 5))
    # A score of 0.5 is called fake; both images are in one bin.
    assert confidence_ece([True, True], [0.5, 0.52]) == pytest.approx(1 - 0.51)
    assert brier(truth, score) == pytest.approx((0.01 + 0.64 + 0.09 + 0.16 + 0.04) / 5)


def test_a_score_on_an_edge_belongs_to_the_bin_below() -> None:
    assert [one.count for one in reliability([True] * 5, [0.0, 0.25, 0.5, 0.75, 1.0], bins=4)] == [2, 1, 1, 1]


def test_an_empty_bin_is_there_and_has_no_means() -> None:
    empty, full = reliability([True], [0.7], bins=2)
    assert empty.count == 0
    assert np.isnan([empty.mean_score, empty.share_fake]).all()
    assert full == Bin(1, 0.7, 1.0)


@given(scored, st.integers(1, 20))
def test_bins_are_those_of_scikit_learn(pairs: Pairs, bins: int) -> None:
    truth, score = columns(pairs)
    filled = [one for one in reliability(truth, score, bins) if one.count]
    share_fake, mean_score = calibration_curve(truth, score, n_bins=bins, pos_label=True)
    assert [one.share_fake for one in filled] == pytest.approx(share_fake.tolist())
    assert [one.mean_score for one in filled] == pytest.approx(mean_score.tolist())


@given(scored)
def test_the_confidence_error_is_guos(pairs: Pairs) -> None:
    truth, score = columns(pairs)
    confidence, right = np.where(score >= 0.5, score, 1 - score), (score >= 0.5) == truth
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert confidence_ece(truth, score) == pytest.approx(expected)


@given(scored)
def test_brier_is_that_of_scikit_learn(pairs: Pairs) -> None:
    truth, score = columns(pairs)
    assert brier(truth, score) == pytest.approx(brier_score_loss(truth, score, labels=[False, True]))


def test_scores_that_are_probabilities_have_no_error() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(size=200_000)
    truth = rng.uniform(size=len(score)) < score
    assert ece(truth, score) < 0.01
    assert confidence_ece(truth, score) < 0.01
    assert ece(truth, score**2) > 0.1


@pytest.mark.parametrize("metric", [ece, confidence_ece, brier])
def test_what_is_no_probability_is_refused_and_nothing_is_nan(metric: Callable[..., float]) -> None:
    assert math.isnan(metric(np.array([], dtype=np.bool_), []))
    with pytest.raises(TypeError, match="bool"):
        metric([0, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"0 to 1, got 0\.5 to 1\.5"):
        metric([True, False], [0.5, 1.5])
    with pytest.raises(ValueError, match="0 to 1"):
        metric([True, False], [0.5, -0.1])
    with pytest.raises(ValueError, match="NaN"):
        metric([True, False], [0.5, math.nan])
    with pytest.raises(ValueError, match="one length"):
        metric([True, False], [0.5])


def test_there_must_be_bins() -> None:
    with pytest.raises(ValueError, match="bins"):
        ece([True], [0.5], bins=0)


def test_the_confidence_is_that_of_the_threshold() -> None:
    truth, score = [True, True, False, False], [0.8, 0.8, 0.8, 0.1]
    assert confidence_ece(truth, score) == pytest.approx(3 / 4 * abs(2 / 3 - 0.8) + 1 / 4 * 0.1)
    assert confidence_ece(truth, score, threshold=0.9) == pytest.approx(3 / 4 * abs(1 / 3 - 0.2) + 1 / 4 * 0.1)


@given(scored, st.integers(1, 12), st.integers(1, 30))
def test_even_bins_hold_every_image_once_and_none_too_few(pairs: Pairs, bins: int, least: int) -> None:
    truth, score = columns(pairs)
    found = even_bins(truth, score, bins=bins, least=least)
    assert 1 <= len(found) <= bins
    assert sum(one.count for one in found) == len(truth)
    assert all(one.count >= least for one in found) or len(found) == 1
    assert [one.mean_score for one in found] == sorted(one.mean_score for one in found)
    assert sum(one.count * one.share_fake for one in found) == pytest.approx(truth.sum())


def test_even_bins_are_about_even_and_ties_stay_together() -> None:
    score = np.linspace(0, 1, 200)
    assert [one.count for one in even_bins(score > 0.5, score)] == [20] * 10
    assert [one.count for one in even_bins([True] * 50, [0.5] * 50)] == [50]
    assert even_bins(np.zeros(0, np.bool_), []) == []
