"""Metrics against worked values, scikit-learn and scipy, and a second way of counting."""

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from fakevlm.metrics.classification import (
    Confusion,
    OperatingPoint,
    accuracy,
    auroc,
    auroc_interval,
    average_precision,
    balanced_accuracy,
    confusion,
    f1,
    macro_f1,
    roc,
    tpr_at_fpr,
    wilson,
)
from fakevlm.verdict import Verdict

pytestmark = pytest.mark.unit

TRUTH = np.array([True, True, True, False, False])
SCORES = [0.9, 0.8, 0.3, 0.7, 0.3]
SAID = [True, True, False, True, False]

# Few distinct scores, so that many tie.
scored = st.lists(st.tuples(st.booleans(), st.integers(0, 6).map(lambda step: step / 6)), min_size=2, max_size=60)
both_classes = scored.filter(lambda pairs: len({fake for fake, _ in pairs}) == 2)
Pairs = list[tuple[bool, float]]


def columns(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    truth, score = zip(*pairs, strict=True)
    return np.array(truth), np.array(score)


def test_worked_values() -> None:
    said = np.array(SAID)
    assert accuracy(TRUTH, said) == pytest.approx(3 / 5)
    assert balanced_accuracy(TRUTH, said) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert f1(TRUTH, said) == pytest.approx(2 / 3)  # precision 2/3, recall 2/3
    assert f1(~TRUTH, ~said) == pytest.approx(1 / 2)  # precision 1/2, recall 1/2
    assert macro_f1(TRUTH, said) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert auroc(TRUTH, SCORES) == pytest.approx((2 + 2 + 0.5) / 6)
    # Recall rises by a third at 0.9, 0.8 and 0.3, with precision 1, 1 and 3/5.
    assert average_precision(TRUTH, SCORES) == pytest.approx((1 + 1 + 3 / 5) / 3)


def test_worked_roc() -> None:
    fpr, tpr = roc(TRUTH, SCORES)
    assert fpr.tolist() == pytest.approx([0, 0, 0, 1 / 2, 1])
    assert tpr.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("allowed", "point"),
    [
        (0.0, OperatingPoint(2 / 3, 0.0, 0.8)),
        (0.49, OperatingPoint(2 / 3, 0.0, 0.8)),
        (0.5, OperatingPoint(2 / 3, 0.5, 0.7)),
        (1.0, OperatingPoint(1.0, 1.0, 0.3)),
    ],
)
def test_the_lowest_threshold_within_a_false_positive_rate(allowed: float, point: OperatingPoint) -> None:
    assert tpr_at_fpr(TRUTH, SCORES, allowed) == pytest.approx(point)


def test_no_threshold_but_infinity_where_a_real_image_scores_highest() -> None:
    assert tpr_at_fpr([True, False], [0.4, 0.4], 0.5) == (0.0, 0.0, math.inf)


@given(scored, st.integers(0, 6))
def test_verdict_metrics_are_those_of_scikit_learn(pairs: Pairs, step: int) -> None:
    truth, score = columns(pairs)
    said = score >= step / 6
    assert accuracy(truth, said) == pytest.approx(reference.accuracy_score(truth, said))
    agrees_or_undefined(f1(truth, said), reference.f1_score(truth, said, zero_division=np.nan))
    per_class = reference.f1_score(truth, said, average=None, labels=[False, True], zero_division=np.nan)
    agrees_or_undefined(macro_f1(truth, said), per_class.mean())
    if truth.any() and not truth.all():
        assert balanced_accuracy(truth, said) == pytest.approx(reference.balanced_accuracy_score(truth, said))
    else:
        assert math.isnan(balanced_accuracy(truth, said))


def agrees_or_undefined(found: float, expected: float) -> None:
    assert found == pytest.approx(expected, nan_ok=True)


@given(both_classes)
def test_score_metrics_are_those_of_scikit_learn(pairs: Pairs) -> None:
    truth, score = columns(pairs)
    assert auroc(truth, score) == pytest.approx(reference.roc_auc_score(truth, score))
    assert average_precision(truth, score) == pytest.approx(reference.average_precision_score(truth, score))
    fpr, tpr, _ = reference.roc_curve(truth, score, drop_intermediate=False)
    found_fpr, found_tpr = roc(truth, score)
    assert found_fpr.tolist() == pytest.approx(fpr.tolist())
    assert found_tpr.tolist() == pytest.approx(tpr.tolist())
    assert reference.auc(found_fpr, found_tpr) == pytest.approx(auroc(truth, score))


@given(both_classes, st.floats(0, 1))
def test_an_operating_point_is_what_its_threshold_does_and_no_lower_one_may(pairs: Pairs, allowed: float) -> None:
    truth, score = columns(pairs)
    point = tpr_at_fpr(truth, score, allowed)
    assert point.tpr == pytest.approx((score[truth] >= point.threshold).mean())
    assert point.fpr == pytest.approx((score[~truth] >= point.threshold).mean())
    assert point.fpr <= allowed
    for lower in score[score < point.threshold]:
        assert (score[~truth] >= lower).mean() > allowed


@given(scored)
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: Pairs) -> None:
    fakes = [score for fake, score in pairs if fake]
    reals = [score for fake, score in pairs if not fake]
    found = auroc([fake for fake, _ in pairs], [score for _, score in pairs])
    if not fakes or not reals:
        assert math.isnan(found)
        return
    right = sum((a > b) + 0.5 * (a == b) for a in fakes for b in reals)
    assert found == pytest.approx(right / (len(fakes) * len(reals)))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(Verdict)), min_size=1, max_size=60))
def test_every_image_is_in_one_cell_of_the_confusion(judged: list[tuple[bool, Verdict]]) -> None:
    truth, verdicts = [fake for fake, _ in judged], [verdict for _, verdict in judged]
    found = confusion(truth, verdicts)
    assert sum(found) == len(judged)
    assert found.fake_as_fake + found.fake_as_real + found.fake_uncertain == sum(truth)
    table = reference.confusion_matrix(
        ["fake" if fake else "real" for fake in truth], verdicts, labels=["fake", "real", "uncertain"]
    )
    assert found == (table[0, 0], table[0, 1], table[0, 2], table[1, 1], table[1, 0], table[1, 2])


def test_a_worked_confusion() -> None:
    verdicts = [Verdict.FAKE, Verdict.REAL, Verdict.UNCERTAIN, Verdict.FAKE, Verdict.UNCERTAIN]
    assert confusion(TRUTH, verdicts) == Confusion(
        fake_as_fake=1, fake_as_real=1, fake_uncertain=1, real_as_real=0, real_as_fake=1, real_uncertain=1
    )


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 0.999))
def test_wilson_is_that_of_scipy(successes: int, count: int, confidence: float) -> None:
    successes = min(successes, count)
    expected = binomtest(successes, count).proportion_ci(confidence, method="wilson")
    assert wilson(successes, count, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_worked_wilson() -> None:
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 20).low == 0.0
    assert wilson(20, 20).high == 1.0


def test_nothing_to_measure_is_nan() -> None:
    none = np.array([], dtype=np.bool_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for of_verdicts in (accuracy, balanced_accuracy, f1, macro_f1):
            assert math.isnan(of_verdicts(none, none))
        for of_scores in (auroc, average_precision):
            assert math.isnan(of_scores(none, []))
        assert np.isnan(roc(none, [])).all()
        assert np.isnan(tpr_at_fpr(none, [], 0.1)).all()
        assert np.isnan(wilson(0, 0)).all()
    assert confusion(none, []) == (0, 0, 0, 0, 0, 0)


def test_a_class_without_images_leaves_what_needs_it_undefined() -> None:
    fakes = [True, True]
    assert math.isnan(auroc(fakes, [0.1, 0.2]))
    assert math.isnan(balanced_accuracy(fakes, fakes))
    assert math.isnan(macro_f1(fakes, fakes))
    assert np.isnan(tpr_at_fpr(fakes, [0.1, 0.2], 0.1)).all()
    assert average_precision(fakes, [0.1, 0.2]) == 1.0
    assert math.isnan(average_precision([False, False], [0.1, 0.2]))
    fpr, tpr = roc(fakes, [0.1, 0.2])
    assert np.isnan(fpr).all()
    assert tpr.tolist() == [0, 0.5, 1]


def first_percent(is_fake: object, score: object) -> OperatingPoint:
    return tpr_at_fpr(is_fake, score, 0.01)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [auroc, average_precision, roc, first_percent])
def test_scores_that_cannot_be_ranked_are_refused(metric: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="bool"):
        metric([0, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        metric([True, False], [0.1, math.nan])
    with pytest.raises(ValueError, match="one length"):
        metric([True, False], [0.1])


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, f1, macro_f1])
def test_verdicts_that_do_not_fit_the_labels_are_refused(metric: Callable[..., float]) -> None:
    with pytest.raises(TypeError, match="bool"):
        metric([True, False], [1, 0])
    with pytest.raises(ValueError, match="one length"):
        metric([True, False], [True])


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="2 verdicts"):
        confusion([True], [Verdict.FAKE, Verdict.REAL])
    with pytest.raises(ValueError, match="maybe"):
        confusion([True], ["maybe"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="fpr"):
        tpr_at_fpr(TRUTH, SCORES, 1.5)
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, 1.0)


@pytest.mark.parametrize(("value", "fakes", "reals"), [(0.9, 40, 60), (0.5, 10, 10), (1.0, 20, 20), (0.0, 5, 9)])
def test_an_aurocs_interval_is_where_its_definition_puts_it(value: float, fakes: int, reals: int) -> None:
    low, high = auroc_interval(value, fakes, reals)
    assert 0 <= low <= value <= high <= 1
    for end in (low, high):
        if end in (0.0, 1.0):
            continue
        spread = 1 + ((fakes + reals) / 2 - 1) * ((1 - end) / (2 - end) + end / (1 + end))
        variance = end * (1 - end) * spread / (fakes * reals)
        assert (value - end) ** 2 == pytest.approx(1.959964**2 * variance, rel=1e-5)
    assert high - low > 0.05, "never a point"


def test_an_aurocs_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    truth = np.repeat([True, False], [30, 50])
    expected = 0.5 * (1 + math.erf(1 / 2))  # of normals one apart: the area is Phi(1 / sqrt 2)
    held = 0
    for _ in range(400):
        low, high = auroc_interval(auroc(truth, draw.normal(truth.astype(float))), 30, 50)
        held += low <= expected <= high
    assert 0.92 < held / 400 < 0.99


def test_an_aurocs_interval_without_a_class() -> None:
    assert all(map(math.isnan, auroc_interval(math.nan, 0, 3)))
    assert all(map(math.isnan, auroc_interval(0.5, 0, 3)))
