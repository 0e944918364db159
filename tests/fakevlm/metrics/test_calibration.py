"""Temperature and bias against known ones and scikit-learn; thresholds against what they promise of new images."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fakevlm.errors import UserError
from fakevlm.metrics.calibration import fit, threshold_for, uncertain_band, worth
from fakevlm.metrics.reliability import ece
from fakevlm.verdict import Calibration, Verdict, decide

pytestmark = pytest.mark.unit


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def labelled_logits(images: int, temperature: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with the probability that this calibration gives each logit."""
    rng = np.random.default_rng(0)
    logit = rng.normal(1.0, 4.0, size=images)
    return rng.uniform(size=images) < sigmoid(logit / temperature + bias), logit


@pytest.mark.parametrize(("temperature", "bias"), [(2.0, -0.5), (0.5, 1.0), (6.0, 0.0)])
def test_known_temperature_and_bias_are_found(temperature: float, bias: float) -> None:
    truth, logit = labelled_logits(100_000, temperature, bias)
    found = fit(truth, logit)
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.bias == pytest.approx(bias, abs=0.05)
    assert found[2:] == (100_000, truth.sum())
    assert ece(truth, sigmoid(logit / found.temperature + found.bias)) < 0.01


def test_on_many_images_it_is_plain_logistic_regression() -> None:
    truth, logit = labelled_logits(50_000, 2.0, -0.5)
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(logit[:, None], truth)
    found = fit(truth, logit)
    assert 1 / found.temperature == pytest.approx(expected.coef_[0, 0], rel=1e-3)
    assert found.bias == pytest.approx(expected.intercept_[0], abs=1e-3)


# Likely and less likely overlaps, shifts and units, and classes that a threshold divides.
@pytest.mark.parametrize("gap", [0.5, 3.0, 100.0])
@pytest.mark.parametrize("shift", [0.0, -30.0])
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e3])
def test_it_is_logistic_regression_on_platts_targets(gap: float, shift: float, unit: float) -> None:
    """A target of t is t images that are fake and 1 - t that are real."""
    rng = np.random.default_rng(1)
    truth = np.repeat([True, False], [30, 200])
    logit = rng.normal(size=230) + np.where(truth, gap, 0.0) + shift
    target = np.where(truth, 31 / 32, 1 / 202)
    expected = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(
        np.tile(logit, 2)[:, None], np.repeat([True, False], 230), np.concatenate([target, 1 - target])
    )
    found = fit(truth, logit * unit)
    assert unit / found.temperature == pytest.approx(expected.coef_[0, 0], rel=1e-5)
    assert found.bias == pytest.approx(expected.intercept_[0], rel=1e-5)


def test_separable_classes_give_finite_numbers() -> None:
    truth = np.repeat([True, False], [1_000_000, 20])
    found = fit(truth, np.where(truth, 7.0, -5.0))
    fakes, reals = sigmoid(np.array([7.0, -5.0]) / found.temperature + found.bias)
    assert fakes == pytest.approx(1_000_001 / 1_000_002)
    assert reals == pytest.approx(1 / 22)
    Calibration(temperature=found.temperature, bias=found.bias)


@given(st.lists(st.floats(-30, 30), min_size=20, max_size=40), st.lists(st.floats(-30, 30), min_size=20, max_size=40))
def test_the_mean_score_is_the_mean_target(fakes: list[float], reals: list[float]) -> None:
    """It holds of any logistic regression with a bias; a fit that stopped early would miss it."""
    truth = np.repeat([True, False], [len(fakes), len(reals)])
    logit = np.array(fakes + reals)
    try:
        found = fit(truth, logit)
    except UserError:
        assert np.mean(fakes) <= np.mean(reals) + 1e-9
        return
    target = np.where(truth, (len(fakes) + 1) / (len(fakes) + 2), 1 / (len(reals) + 2))
    score = (1 + np.tanh((logit / found.temperature + found.bias) / 2)) / 2
    assert score.mean() == pytest.approx(target.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("fakes", "reals", "message"),
    [
        ([1.0] * 30, [], "no real images"),
        ([], [1.0] * 30, "no fake images"),
        ([1.0] * 19, [0.0] * 30, "19 fake images, it takes at least 20"),
        ([1.0] * 30, [0.0] * 19, "19 real images, it takes at least 20"),
        ([0.0] * 30, [1.0] * 30, "not above those of real ones"),
        ([1.0] * 30, [1.0] * 30, "not above those of real ones"),
    ],
)
def test_logits_that_cannot_be_calibrated_are_the_users_to_mend(
    fakes: list[float], reals: list[float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fit([True] * len(fakes) + [False] * len(reals), fakes + reals)


def test_logits_that_are_none_are_refused() -> None:
    truth = np.repeat([True, False], 20)
    with pytest.raises(TypeError, match="bool"):
        fit(truth.astype(int), np.zeros(40))
    with pytest.raises(ValueError, match="NaN"):
        fit(truth, np.full(40, math.nan))
    with pytest.raises(ValueError, match="40 of 40 logits are infinite"):
        fit(truth, np.full(40, -math.inf))
    with pytest.raises(ValueError, match="one length"):
        fit(truth, np.zeros(39))


HUNDREDTHS = [number / 100 for number in range(1, 100)]


@pytest.mark.parametrize(
    ("scores", "fpr", "just_above"),
    [
        (HUNDREDTHS, 0.01, 0.99),
        (HUNDREDTHS, 0.019, 0.99),
        (HUNDREDTHS, 0.02, 0.98),
        (HUNDREDTHS, 0.29, 0.71),
        ([0.1, 0.5, 0.5, 0.5], 0.2, 0.5),
        ([0.1, 0.5, 0.5, 0.5], 0.79, 0.5),
        ([0.1, 0.5, 0.5, 0.5], 0.8, 0.1),
        ([0.0] * 9, 0.5, 0.0),
    ],
)
def test_the_threshold_is_just_above_a_real_image(scores: list[float], fpr: float, just_above: float) -> None:
    found = threshold_for(scores[::-1], fpr)
    assert just_above < found <= just_above + 1e-7
    assert 0 < found < 1
    tie = decide(just_above, Calibration(threshold=found))
    assert tie is Verdict.REAL
    assert np.float32(just_above) < found


@pytest.mark.parametrize("distribution", ["continuous", "ties", "float32"])
@pytest.mark.parametrize(("images", "fpr"), [(99, 0.01), (150, 0.05), (20, 0.1)])
def test_a_new_real_image_reaches_the_threshold_as_seldom_as_promised(
    distribution: str, images: int, fpr: float
) -> None:
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(3_000):
        scores = rng.beta(0.5, 3, size=images + 50)
        known = scores[:images]
        if distribution == "ties":
            scores = np.round(scores, 1) / 2
            known = scores[:images]
        elif distribution == "float32":
            known = known.astype(np.float32)
        reached.append((scores[images:] >= threshold_for(known, fpr)).mean())
    spread = np.std(reached) / math.sqrt(len(reached))
    assert np.mean(reached) <= fpr + 3 * spread
    if distribution != "ties":
        assert np.mean(reached) >= math.floor((images + 1) * fpr) / (images + 1) - 3 * spread


@pytest.mark.parametrize(("fpr", "needed"), [(0.01, 99), (0.001, 999), (0.05, 19), (0.03, 33), (1e-6, 999_999)])
def test_a_small_rate_takes_many_real_images(fpr: float, needed: int) -> None:
    assert threshold_for(np.full(needed, 0.5), fpr) > 0.5
    with pytest.raises(UserError, match=f"at least {needed:,} real images, got {needed - 1:,}"):
        threshold_for(np.full(needed - 1, 0.5), fpr)


@pytest.mark.parametrize("top", [1.0, 1 - 1e-9])
def test_no_threshold_is_above_a_score_of_one(top: float) -> None:
    with pytest.raises(UserError, match="score 1"):
        threshold_for([0.5] * 20 + [top], 0.05)
    assert threshold_for([0.5] * 39 + [top], 0.05) < 0.6


@pytest.mark.parametrize("fpr", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_that_is_no_share_is_refused(fpr: float) -> None:
    with pytest.raises(UserError, match="fpr"):
        threshold_for([0.5] * 20, fpr)


@pytest.mark.parametrize("scores", [[0.5, math.nan], [0.5, 1.5], [[0.5]]])
def test_scores_that_are_none_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        threshold_for(scores, 0.5)
    with pytest.raises(ValueError, match="0 to 1"):
        uncertain_band(scores, 0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "threshold", "share", "band"),
    [
        (HUNDREDTHS, 0.5, 0.05, (0.05, 0.5)),
        (HUNDREDTHS, 0.5, 0.059, (0.05, 0.5)),
        (HUNDREDTHS, 0.05, 0.05, (None, None)),
        (HUNDREDTHS, 0.04, 0.05, (None, None)),
        ([0.1, 0.3, 0.3, 0.9], 0.5, 0.2, (0.1, 0.5)),
        ([0.1, 0.3, 0.3, 0.9], 0.5, 0.6, (0.3, 0.5)),
        ([0.1, 0.3, 0.3, 0.9], 0.5, 0.8, (None, None)),
    ],
)
def test_the_band_reaches_from_where_fakes_get_rare_to_the_threshold(
    scores: list[float], threshold: float, share: float, band: tuple[float | None, float | None]
) -> None:
    found = uncertain_band(scores[::-1], threshold, share)
    assert found == band
    calibration = Calibration(threshold=threshold, uncertain_low=found[0], uncertain_high=found[1])
    passed = sum(decide(score, calibration) is Verdict.REAL for score in scores)
    assert passed <= share * len(scores)
    assert decide(threshold, calibration) is Verdict.FAKE
    if found[0] is not None:
        assert decide(math.nextafter(threshold, 0), calibration) is Verdict.UNCERTAIN


def test_a_new_fake_image_passes_as_real_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(0)
    passed = []
    for _ in range(3_000):
        scores = rng.beta(3, 1, size=100)
        low, _ = uncertain_band(scores[:50], 0.99, 0.1)
        passed.append(0.0 if low is None else (scores[50:] < low).mean())
    assert np.mean(passed) == pytest.approx(5 / 51, abs=0.005)
    assert np.mean(passed) <= 0.1


def test_a_small_share_takes_many_fake_images() -> None:
    assert uncertain_band([0.2] * 19, 0.5) == (0.2, 0.5)
    with pytest.raises(UserError, match="at least 19 fake images, got 18"):
        uncertain_band([0.2] * 18, 0.5)


def test_what_a_flag_is_worth() -> None:
    assert worth(0.9, 0.01, 0.5) == pytest.approx(0.9 / 0.91)
    assert worth(0.9, 0.01, 0.001) == pytest.approx(0.0009 / (0.0009 + 0.00999))
    assert worth(0.9, 0.0, 0.001) == 1.0
    assert worth(0.9, 0.1, 0.0) == 0.0
    assert math.isnan(worth(0.0, 0.0, 0.5))
    assert math.isnan(worth(math.nan, 0.01, 0.5))
    with pytest.raises(ValueError, match="prevalence"):
        worth(0.9, 0.01, 50)
