"""What a verdict may be called, and what must be said beside it: the words for people, made here and nowhere else.

reader = Reader(Meaning.FULL, calibration, checkpoint.image)
reading = reader.read(verdict=Verdict.REAL, score=0.93, logit=2.6, off_script=0.01, width=1920, height=1080)
reading.finding, reading.remark
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fakevlm.preprocess import ImageSpec, SeenRegion
from fakevlm.verdict import Calibration, Verdict

BASE_RATES = (0.5, 0.1, 0.01, 0.001)
"""Shares of fakes among all images at which it is said how sure a score is."""
BASE_RATE = 0.01
"""The one of them that is said in words."""
DISTRUST = 0.5
"""From this probability on that the model would have said neither word, its verdict is distrusted."""
NARROW = 0.5
"""A picture of which the model saw a smaller share has a remark."""
_UNKNOWN_BOUND = 0.01
"""Nothing rarer than this is said on the word of a calibration that does not tell how many images it was fitted to."""


class Meaning(StrEnum):
    """What a model's verdicts are worth."""

    FULL = "full"
    """It has learnt what it is asked: real images and fake ones, generated images among them."""
    FORGERIES = "forgeries"
    """It has learnt forged photographs and no generator: a low score says that it found no forgery, and no more."""
    NONE = "none"
    """Nothing: the model is untrained, or the engine is simulated."""


class Finding(StrEnum):
    """The verdict as people are shown it."""

    FAKE = "fake"
    REAL = "real"
    UNCERTAIN = "uncertain"
    NO_FORGERY_FOUND = "no forgery found"
    MEANS_NOTHING = "means nothing"


RemarkKind = Literal["meaning", "leaning", "off_script", "seen"]


class Remark(BaseModel):
    """One sentence that belongs beside a verdict."""

    model_config = ConfigDict(frozen=True)

    kind: RemarkKind
    """What it is about: what a verdict of this model is worth, which word the model leans to, how much of its
    probability is on neither word, how much of the picture it saw."""
    words: str


class Certainty(BaseModel):
    """How likely an image with some score is fake, where so many of all images are."""

    model_config = ConfigDict(frozen=True)

    base_rate: float
    """Share of fakes among all images."""
    probability: float
    """Share of fakes among those with the score."""


class HowSure(Certainty):
    """What the calibration says about a score at a stated base rate, and at others."""

    words: str
    """The same in a sentence."""
    at: tuple[Certainty, ...]
    """At several base rates, the highest first."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What people are told about one verdict."""

    finding: Finding
    leans: Verdict | None
    """The likelier of the model's own two words, before calibration and threshold; None where none is."""
    remarks: tuple[Remark, ...]
    """What must stand beside the verdict."""
    seen: SeenRegion

    @property
    def remark(self) -> str | None:
        """The remarks as one text; None for none."""
        return " ".join(remark.words for remark in self.remarks) or None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the verdicts of one model under one calibration."""

    meaning: Meaning
    calibration: Calibration
    image: ImageSpec
    has_own_threshold: bool = False
    """Whether whoever reads the verdict has chosen the threshold: it is called theirs then."""

    def read(
        self, *, verdict: Verdict, score: float, logit: float, off_script: float, width: int, height: int
    ) -> Reading:
        """What to say of a verdict on an image of so many pixels, as displayed."""
        seen = self.image.seen(height, width)
        leans = leaning(logit)
        if self.meaning is Meaning.NONE:
            remarks: Iterable[Remark | None] = (_remark("meaning", MEANS_NOTHING),)
        else:
            remarks = (
                _no_forgery(self.meaning, verdict),
                self._leaning(verdict, score, leans),
                _distrust(off_script),
                _narrow(seen),
            )
        return Reading(finding(verdict, self.meaning), leans, tuple(one for one in remarks if one is not None), seen)

    def how_sure(self, score: float, off_script: float = 0.0, base_rate: float = BASE_RATE) -> HowSure | None:
        """What the calibration says about a score, 0 to 1, where `base_rate` of all images are fake, above 0, below 1.

        By Bayes: the odds of a score are those at the share of fakes that it was fitted at, times the change of the
        prior's odds. None where the verdicts mean nothing or nearly so, and where that share is not known.
        """
        prior = self.calibration.prior
        if self.meaning is Meaning.NONE or prior is None or off_script >= DISTRUST:
            return None
        low, high = _bounds(self.calibration)
        bounded = min(max(score, low), high)
        edge = "at least" if score >= high else "at most" if score <= low else ""
        at = {rate: _at(bounded, prior, rate) for rate in (*BASE_RATES, base_rate)}
        kind = "forged" if self.meaning is Meaning.FORGERIES else "fake"
        words = (
            f"The calibration says: of images like its own with this score, {_share(bounded, edge)} are {kind} "
            f"where {_rate(prior)} of all are"
        )
        if not math.isclose(base_rate, prior):
            words += f", and {_share(at[base_rate], edge)} where {_rate(base_rate)} are"
        words += "."
        if self.meaning is Meaning.FORGERIES:
            words += " It says nothing of generated images."
        return HowSure(
            base_rate=base_rate,
            probability=at[base_rate],
            words=words,
            at=tuple(Certainty(base_rate=rate, probability=at[rate]) for rate in sorted(at, reverse=True)),
        )

    def _leaning(self, verdict: Verdict, score: float, leans: Verdict | None) -> Remark | None:
        """Where the verdict is not the model's own word: what its word is, and what made the verdict of it."""
        calibration = self.calibration
        if verdict is leans or (leans is None and verdict is not Verdict.UNCERTAIN):
            return None
        low, high, threshold = calibration.uncertain_low, calibration.uncertain_high, calibration.threshold
        if verdict is Verdict.UNCERTAIN and low is not None and high is not None:
            number, first, last = shown(score, low, high)
            what = f"within the uncertain scores from {first} to {last}"
        else:
            number, border = shown(score, threshold)
            whose = "your" if self.has_own_threshold else "the"
            if verdict is Verdict.REAL:
                what = f"below {whose} threshold of {border}"
            else:
                what = f"and from {whose} threshold of {border} on an image counts as fake"
        if leans is None:
            words = f"The model leans to neither word ({number}), {what}."
        elif (leans is Verdict.FAKE) == (score >= 0.5):
            told = number if leans is Verdict.FAKE else f"score {number}"
            words = f"The model leans to {leans} ({told}), {what}."
        else:
            words = f"The model's own word is {leans}; calibrated, its score is {number}, {what}."
        return _remark("leaning", words)


def finding(verdict: Verdict, meaning: Meaning) -> Finding:
    """A verdict as people are shown it."""
    if meaning is Meaning.NONE:
        return Finding.MEANS_NOTHING
    if meaning is Meaning.FORGERIES and verdict is Verdict.REAL:
        return Finding.NO_FORGERY_FOUND
    return Finding(verdict.value)


def counted_as(verdict: Verdict, meaning: Meaning | None) -> str:
    """What images with a verdict are called where they are counted; a count of a run from before has no meaning."""
    if meaning is None or meaning is Meaning.NONE:  # what verdicts that mean nothing would be is said beside them
        return verdict.value
    return finding(verdict, meaning).value


def outcome_name(outcome: str, meaning: Meaning | None) -> str:
    """What images are called where they are counted: a verdict, `errors`, or a verdict and a band of scores.

    >>> outcome_name("real 0.03-0.10", Meaning.FORGERIES), outcome_name("errors", Meaning.FORGERIES)
    ('no forgery found 0.03-0.10', 'errors')
    """
    first, space, rest = outcome.partition(" ")
    if first not in set(Verdict):
        return outcome
    return f"{counted_as(Verdict(first), meaning)}{space}{rest}"


def leaning(logit: float) -> Verdict | None:
    """The likelier of the model's own two words, by the logit before calibration; None for a tie."""
    return Verdict.FAKE if logit > 0 else Verdict.REAL if logit < 0 else None


def score_meaning(calibration: Calibration, meaning: Meaning) -> str:
    """What a score is, in a sentence."""
    if meaning is Meaning.NONE:
        return "It means nothing: no trained model gave it."
    kind = "forged" if meaning is Meaning.FORGERIES else "fake"
    if not calibration.is_fitted:
        return f"How far the model leans to {kind}. It has no calibration, so this is no probability."
    if calibration.prior is None:
        return f"The probability that an image is {kind}, as the calibration has it."
    return (
        f"The probability that an image is {kind}, as the calibration has it: "
        f"for images like its own, where {_rate(calibration.prior)} of all are {kind}."
    )


def shown(score: float, *borders: float) -> list[str]:
    """A score and the thresholds beside it in digits, as many as tell them apart, which are two to seventeen.

    >>> shown(0.93, 0.95), shown(0.9496, 0.95)
    (['0.93', '0.95'], ['0.9496', '0.9500'])
    """
    for digits in range(2, 18):
        texts = [f"{number:.{digits}f}" for number in (score, *borders)]
        if all(
            (text != texts[0] or border == score) and (0 < float(text) < 1 or float(text) == border)
            for text, border in zip(texts[1:], borders, strict=True)
        ):
            break
    if 0 < score < 1 and float(texts[0]) in (0, 1):
        step = f"{10**-digits:.{digits}f}" if score < 0.5 else f"{1 - 10**-digits:.{digits}f}"
        texts[0] = f"under {step}" if score < 0.5 else f"over {step}"
    return texts


def _no_forgery(meaning: Meaning, verdict: Verdict) -> Remark | None:
    if meaning is not Meaning.FORGERIES or verdict is not Verdict.REAL:
        return None
    return _remark("meaning", NO_FORGERY_FOUND)


NO_FORGERY_FOUND = (
    "No forgery found, which does not make the image real: the model knows no generator and does not notice "
    "generated images."
)
"""Beside every low score of a model that knows no generator."""
MEANS_NOTHING = "This verdict means nothing: no trained model gave it."
"""Beside every verdict of an untrained model or a simulated engine."""


def _distrust(off_script: float) -> Remark | None:
    if off_script < DISTRUST:
        return None
    percent = math.floor(100 * off_script)
    return _remark(
        "off_script",
        f'Distrust this verdict: with {percent} % probability the model would have said neither "real" nor "fake".',
    )


def _narrow(seen: SeenRegion) -> Remark | None:
    if seen.share >= NARROW:
        return None
    share = 100 * seen.share
    percent = f"{share:.0f}" if share >= 1 else f"{share:.1g}"
    return _remark("seen", f"The model saw only the middle {percent} % of the picture.")


def _remark(kind: RemarkKind, words: str) -> Remark:
    return Remark(kind=kind, words=words)


def _bounds(calibration: Calibration) -> tuple[float, float]:
    """The lowest and highest probability that a calibration can show: Platt's targets for what it was fitted to."""
    prior, images = calibration.prior, calibration.fitted_images
    if prior is None or images is None:
        return _UNKNOWN_BOUND, 1 - _UNKNOWN_BOUND
    fakes = prior * images
    return 1 / (images - fakes + 2), (fakes + 1) / (fakes + 2)


def _at(probability: float, prior: float, rate: float) -> float:
    """A probability at one share of fakes at another; all above 0 and below 1."""
    odds = probability / (1 - probability) * (rate / (1 - rate)) / (prior / (1 - prior))
    return odds / (1 + odds)


def _share(probability: float, edge: str) -> str:
    """A probability in whole percents, of a score at an edge of what the calibration can show."""
    percent = round(100 * probability)
    if percent == 100:
        return "over 99 %"
    if percent == 0:
        return "under 1 %"
    return f"{edge or 'about'} {percent} %"


def _rate(rate: float) -> str:
    return f"{100 * rate:.3g} %"
