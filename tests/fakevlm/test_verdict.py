"""Scores from two log-probabilities, verdicts from scores, and verdicts from free text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fakevlm.verdict import Calibration, Verdict, decide, parse_answer, score_tokens

pytestmark = pytest.mark.unit


def test_score_of_two_words() -> None:
    score = score_tokens(math.log(0.6), math.log(0.3), Calibration())
    assert score.logit == pytest.approx(math.log(2))
    assert score.score == pytest.approx(2 / 3)
    assert score.off_script == pytest.approx(0.1)


def test_calibration_divides_then_shifts() -> None:
    score = score_tokens(-1.0, -3.0, Calibration(temperature=4.0, bias=0.25))
    assert score.logit == 2.0
    assert score.score == pytest.approx(1 / (1 + math.exp(-0.75)))


@given(st.floats(-1e6, 0), st.floats(-1e6, 0), st.floats(0.01, 100), st.floats(-50, 50))
def test_scores_are_probabilities_however_extreme(fake: float, real: float, temperature: float, bias: float) -> None:
    calibration = Calibration(temperature=temperature, bias=bias)
    score = score_tokens(fake, real, calibration)
    assert 0.0 <= score.score <= 1.0
    assert 0.0 <= score.off_script <= 1.0
    swapped = score_tokens(real, fake, Calibration(temperature=temperature, bias=-bias))
    assert score.score == pytest.approx(1 - swapped.score, abs=1e-12)


def test_one_impossible_word_is_certainty() -> None:
    assert score_tokens(0.0, -math.inf, Calibration()) == (math.inf, 1.0, 0.0)
    assert score_tokens(-math.inf, 0.0, Calibration()) == (-math.inf, 0.0, 0.0)


@pytest.mark.parametrize(("fake", "real"), [(math.nan, -1.0), (-1.0, math.nan), (-math.inf, -math.inf)])
def test_a_broken_model_gets_no_score(fake: float, real: float) -> None:
    with pytest.raises(ValueError, match="no score"):
        score_tokens(fake, real, Calibration())


@pytest.mark.parametrize(("score", "verdict"), [(0.0, "real"), (0.699, "real"), (0.7, "fake"), (1.0, "fake")])
def test_the_threshold_itself_is_fake(score: float, verdict: str) -> None:
    assert decide(score, Calibration(threshold=0.7)) == verdict


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(0.0, "real"), (0.399, "real"), (0.4, "uncertain"), (0.599, "uncertain"), (0.6, "fake"), (1.0, "fake")],
)
@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.6])
def test_the_band_is_uncertain_from_its_low_end_to_below_its_high_end(
    score: float, verdict: str, threshold: float
) -> None:
    assert decide(score, Calibration(threshold=threshold, uncertain_low=0.4, uncertain_high=0.6)) == verdict


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {"temperature": math.inf},
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"bias": math.nan},
        {"uncertain_low": 0.4},
        {"uncertain_low": 0.6, "uncertain_high": 0.4},
        {"uncertain_low": 0.5, "uncertain_high": 0.5},
        {"uncertain_low": 0.6, "uncertain_high": 0.8},
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Calibration(**settings)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("This is a real image. The lighting is natural.", Verdict.REAL),
        ("This is a fake image. It only pretends to be real.", Verdict.FAKE),
        (" this is a REAL image", Verdict.REAL),
        ("The hands have six fingers. This is a fake image.", Verdict.FAKE),
        ("Fake!", Verdict.FAKE),
        ("This is a fake\nimage", Verdict.FAKE),
        ("**Fake.** The shadows disagree.", Verdict.FAKE),
        ("No, it is real.", Verdict.REAL),
        ("This is a real image with no strange halos.", Verdict.REAL),
        ("", Verdict.UNCERTAIN),
        ("I cannot tell.", Verdict.UNCERTAIN),
        ("This looks unreal.", Verdict.UNCERTAIN),
        ("It is realistic and shows a real-time strategy game.", Verdict.UNCERTAIN),
        ("A faked fakery.", Verdict.UNCERTAIN),
        ("It is either real or fake. This is a fake image.", Verdict.UNCERTAIN),
        ("This is not a real image.", Verdict.UNCERTAIN),
        ("It doesn't look real. It is fake.", Verdict.UNCERTAIN),
        ("This is no fake.", Verdict.UNCERTAIN),
    ],
)
def test_parsing_an_answer(text: str, verdict: Verdict) -> None:
    assert parse_answer(text) is verdict


@given(st.text())
def test_parsing_is_deterministic_on_any_text(text: str) -> None:
    assert parse_answer(text) is parse_answer(text)
