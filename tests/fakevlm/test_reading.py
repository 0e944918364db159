"""What a verdict may be called, and what is said beside it: no sentence claims more than is known."""

import itertools
import math
import random

import pytest

from fakevlm.preprocess import ImageSpec
from fakevlm.reading import (
    BASE_RATES,
    NO_FORGERY_FOUND,
    Finding,
    Meaning,
    Reader,
    Reading,
    counted_as,
    finding,
    leaning,
    score_meaning,
    shown,
)
from fakevlm.verdict import Calibration, Verdict, decide, score_of

pytestmark = pytest.mark.unit

SPEC = ImageSpec(shortest_edge=336, crop=(336, 336))


def read(
    logit: float,
    calibration: Calibration | None = None,
    meaning: Meaning = Meaning.FULL,
    *,
    off_script: float = 0.0,
    size: tuple[int, int] = (640, 480),
    own: bool = False,
) -> Reading:
    """The reading of a logit, as a scan would make it."""
    calibration = calibration or Calibration()
    score = score_of(logit, calibration)
    return Reader(meaning, calibration, SPEC, own).read(
        verdict=decide(score, calibration),
        score=score,
        logit=logit,
        off_script=off_script,
        width=size[0],
        height=size[1],
    )


def logit_of(score: float) -> float:
    return math.log(score / (1 - score))


@pytest.mark.parametrize(
    ("meaning", "verdict", "words"),
    [
        (Meaning.FULL, Verdict.REAL, "real"),
        (Meaning.FULL, Verdict.FAKE, "fake"),
        (Meaning.FULL, Verdict.UNCERTAIN, "uncertain"),
        (Meaning.FORGERIES, Verdict.REAL, "no forgery found"),
        (Meaning.FORGERIES, Verdict.FAKE, "fake"),
        (Meaning.FORGERIES, Verdict.UNCERTAIN, "uncertain"),
        (Meaning.NONE, Verdict.REAL, "means nothing"),
        (Meaning.NONE, Verdict.FAKE, "means nothing"),
        (Meaning.NONE, Verdict.UNCERTAIN, "means nothing"),
    ],
)
def test_a_verdict_is_called_what_the_model_can_know(meaning: Meaning, verdict: Verdict, words: str) -> None:
    assert finding(verdict, meaning) == words


def test_only_what_is_known_of_a_run_changes_what_its_rows_are_counted_as() -> None:
    assert counted_as(Verdict.REAL, Meaning.FORGERIES) == "no forgery found"
    assert {counted_as(Verdict.REAL, meaning) for meaning in (None, Meaning.FULL, Meaning.NONE)} == {"real"}


def test_there_is_nothing_to_say_of_a_plain_verdict() -> None:
    for logit in (3.0, -3.0):
        reading = read(logit)
        assert (reading.remark, reading.remarks) == (None, ())
        assert reading.finding == reading.leans


@pytest.mark.parametrize(
    ("logit", "calibration", "own", "words"),
    [
        (logit_of(0.93), {"threshold": 0.95}, True, "The model leans to fake (0.93), below your threshold of 0.95."),
        (logit_of(0.93), {"threshold": 0.95}, False, "The model leans to fake (0.93), below the threshold of 0.95."),
        (
            logit_of(0.31),
            {"threshold": 0.2},
            True,
            "The model leans to real (score 0.31), and from your threshold of 0.20 on an image counts as fake.",
        ),
        (
            logit_of(0.62),
            {"threshold": 0.7, "uncertain_low": 0.4, "uncertain_high": 0.7},
            False,
            "The model leans to fake (0.62), within the uncertain scores from 0.40 to 0.70.",
        ),
        (
            logit_of(0.45),
            {"threshold": 0.7, "uncertain_low": 0.4, "uncertain_high": 0.7},
            False,
            "The model leans to real (score 0.45), within the uncertain scores from 0.40 to 0.70.",
        ),
        (
            0.0,
            {"threshold": 0.7, "uncertain_low": 0.4, "uncertain_high": 0.7},
            False,
            "The model leans to neither word (0.50), within the uncertain scores from 0.40 to 0.70.",
        ),
        (
            0.5,
            {"temperature": 1.58, "bias": -0.66},
            False,
            "The model's own word is fake; calibrated, its score is 0.41, below the threshold of 0.50.",
        ),
        (
            -0.5,
            {"bias": 1.0},
            False,
            "The model's own word is real; calibrated, its score is 0.62, "
            "and from the threshold of 0.50 on an image counts as fake.",
        ),
        (
            0.9,
            {"bias": -1.0, "threshold": 0.6, "uncertain_low": 0.4, "uncertain_high": 0.6},
            False,
            "The model's own word is fake; calibrated, its score is 0.48, "
            "within the uncertain scores from 0.40 to 0.60.",
        ),
    ],
)
def test_a_verdict_that_is_not_the_models_own_word(
    logit: float, calibration: dict[str, float], own: bool, words: str
) -> None:
    reading = read(logit, Calibration.model_validate(calibration), own=own)
    assert reading.remark == words
    assert [remark.kind for remark in reading.remarks] == ["leaning"]
    assert reading.leans is leaning(logit)


def test_the_model_that_knows_no_generator_says_so_with_every_low_score() -> None:
    low, high = read(-3.0, meaning=Meaning.FORGERIES), read(3.0, meaning=Meaning.FORGERIES)
    assert (low.finding, low.remark) == (Finding.NO_FORGERY_FOUND, NO_FORGERY_FOUND)
    assert (high.finding, high.remark) == (Finding.FAKE, None)
    both = read(0.5, Calibration(bias=-1.0), Meaning.FORGERIES)
    assert [remark.kind for remark in both.remarks] == ["meaning", "leaning"]
    assert both.remark == " ".join(remark.words for remark in both.remarks)


def test_a_verdict_that_means_nothing_has_that_said_and_nothing_else() -> None:
    reading = read(logit_of(0.9), Calibration(threshold=0.95), Meaning.NONE, off_script=0.9, size=(4000, 100))
    assert reading.remark == "This verdict means nothing: no trained model gave it."


def test_a_model_that_would_have_said_something_else_is_distrusted() -> None:
    assert read(3.0, off_script=0.4999).remark is None
    assert read(3.0, off_script=0.999).remark == (
        'Distrust this verdict: with 99 % probability the model would have said neither "real" nor "fake".'
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1920, 1080), None),
        ((336, 336), None),
        ((1000, 500), None),
        ((1001, 500), None),  # 671 of the 672 pixels it has when it is resized
        ((2390, 1000), "The model saw only the middle 42 % of the picture."),
        ((1000, 3210), "The model saw only the middle 31 % of the picture."),
        ((60_000, 100), "The model saw only the middle 0.2 % of the picture."),
    ],
)
def test_a_picture_whose_edges_were_not_seen(size: tuple[int, int], words: str | None) -> None:
    assert read(3.0, size=size).remark == words


def test_a_score_and_its_threshold_never_look_alike_and_never_certain() -> None:
    draw = random.Random(0)
    pairs = [(draw.random(), draw.random()) for _ in range(2000)]
    pairs += [(t + e, t) for t in (0.5, 0.95, 0.003) for e in (1e-3, -1e-3, 1e-4, -1e-5)]
    pairs += [(1.0 - 1e-9, 0.5), (1e-9, 0.5), (0.9999, 0.99995), (0.5, 0.5)]
    for score, threshold in pairs:
        number, border = shown(score, threshold)
        assert (number == border) <= (score == threshold), (score, threshold)
        assert number.split()[-1] not in ("0.00", "1.00", "0.000", "1.000")
        if "er " not in number:
            assert (float(number) < float(border)) == (score < threshold) or score == threshold
    assert shown(1 - 1e-9, 0.5) == ["over 0.99", "0.50"]
    assert shown(1e-9, 0.5) == ["under 0.01", "0.50"]


class TestHowSure:
    """What the calibration says of a score, where so many of all images are fake."""

    FITTED = Calibration(prior=0.5, fitted_images=2000)

    def test_it_is_bayes_rule(self) -> None:
        """Against counting: in a population with so many fakes, what share of those with the score is fake?"""
        for score, prior, rate in itertools.product((0.05, 0.5, 0.93), (0.2, 0.5), (0.001, 0.01, 0.3)):
            sure = Reader(Meaning.FULL, Calibration(prior=prior, fitted_images=10**6), SPEC).how_sure(score, 0.0, rate)
            assert sure is not None
            # How much likelier the score is for a fake than for a real image, which no base rate changes.
            ratio = score / (1 - score) * (1 - prior) / prior
            fakes, reals = rate * ratio, (1 - rate) * 1.0
            assert sure.probability == pytest.approx(fakes / (fakes + reals))
            assert [one.base_rate for one in sure.at] == sorted({*BASE_RATES, rate}, reverse=True)
            assert dict((one.base_rate, one.probability) for one in sure.at)[rate] == sure.probability

    def test_in_words(self) -> None:
        assert self.words(0.97) == (
            "The calibration says: of images like its own with this score, about 97 % are fake where 50 % of all are, "
            "and about 25 % where 1 % are."
        )
        assert self.words(0.001).startswith(
            "The calibration says: of images like its own with this score, under 1 % are fake where 50 % of all are, "
        )
        assert self.words(0.97, rate=0.5).endswith("about 97 % are fake where 50 % of all are.")

    def test_no_more_than_its_images_can_show(self) -> None:
        """Of 40 images 20 were fake: Platt's rule goes no higher than 21 of 22."""
        few = Calibration(prior=0.5, fitted_images=40)
        sure = Reader(Meaning.FULL, few, SPEC).how_sure(1 - 1e-9)
        assert sure is not None
        assert sure.at[0].probability == pytest.approx(21 / 22)
        assert "at least 95 % are fake where 50 % of all are, and at least 18 % where 1 % are." in sure.words
        least = Reader(Meaning.FULL, few, SPEC).how_sure(1e-9)
        assert least is not None
        assert "at most 5 % are fake where 50 % of all are, and under 1 % where 1 % are." in least.words
        unknown = Reader(Meaning.FULL, Calibration(prior=0.5), SPEC).how_sure(1.0)
        assert unknown is not None
        assert unknown.at[0].probability == pytest.approx(0.99)

    @pytest.mark.parametrize("score", [0.0, 1.0])
    def test_a_score_at_its_end_is_no_certainty(self, score: float) -> None:
        sure = Reader(Meaning.FULL, self.FITTED, SPEC).how_sure(score)
        assert sure is not None
        assert all(0 < one.probability < 1 for one in sure.at)

    def test_of_generated_images_a_model_that_knows_none_says_nothing(self) -> None:
        sure = Reader(Meaning.FORGERIES, self.FITTED, SPEC).how_sure(0.97)
        assert sure is not None
        assert "about 97 % are forged" in sure.words
        assert sure.words.endswith(" It says nothing of generated images.")

    def test_where_nothing_is_known_nothing_is_said(self) -> None:
        assert Reader(Meaning.FULL, Calibration(temperature=2.0), SPEC).how_sure(0.9) is None, "the prior is not known"
        assert Reader(Meaning.FULL, Calibration(), SPEC).how_sure(0.9) is None, "not calibrated"
        assert Reader(Meaning.NONE, self.FITTED, SPEC).how_sure(0.9) is None
        assert Reader(Meaning.FULL, self.FITTED, SPEC).how_sure(0.9, off_script=0.6) is None

    def words(self, score: float, rate: float = 0.01) -> str:
        sure = Reader(Meaning.FULL, self.FITTED, SPEC).how_sure(score, 0.0, rate)
        assert sure is not None
        return sure.words


def test_a_score_without_a_calibration_is_called_no_probability() -> None:
    assert "no probability" in score_meaning(Calibration(), Meaning.FULL)
    assert "no probability" in score_meaning(Calibration(threshold=0.9), Meaning.FULL)
    fitted = Calibration(temperature=1.5, prior=0.3)
    assert score_meaning(fitted, Meaning.FULL) == (
        "The probability that an image is fake, as the calibration has it: "
        "for images like its own, where 30 % of all are fake."
    )
    assert "forged" in score_meaning(fitted, Meaning.FORGERIES)
    assert "nothing" in score_meaning(fitted, Meaning.NONE)
    assert not Calibration(threshold=0.9).is_fitted
    assert fitted.without_origin() == Calibration(temperature=1.5)
