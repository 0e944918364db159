"""From what the model says to a verdict: the calibrated score of two tokens, and the parsing of free text."""

import math
import re
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Verdict(StrEnum):
    """The judgement of an image."""

    REAL = "real"
    FAKE = "fake"
    UNCERTAIN = "uncertain"


class Calibration(BaseModel):
    """How a logit becomes a score, and a score a verdict. Fitted on labelled images, stored with the checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Divides the logit (Platt scaling); above 1 it makes the model less sure of itself."""
    bias: float = Field(default=0.0, allow_inf_nan=False)
    """Added to the logit after the division."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """A score at or above it means fake."""
    uncertain_low: float | None = Field(default=None, ge=0, le=1)
    """Scores from here on ..."""
    uncertain_high: float | None = Field(default=None, ge=0, le=1)
    """... to just under this one are `uncertain`: a band may end at the threshold. None for both: no such band."""
    prior: float | None = Field(default=None, gt=0, lt=1)
    """Share of fakes among the images that temperature and bias were fitted to; the score is a probability where so
    many are. None where nobody has written it down."""
    fitted_images: int | None = Field(default=None, ge=1)
    """Images that they were fitted to: a score says no more than so many can show."""
    weights_sha256: str | None = Field(default=None, min_length=1)
    """Hash over the weights whose logits it was fitted to; another model refuses it. None where nobody has written it
    down."""

    @model_validator(mode="after")
    def _check(self) -> "Calibration":
        low, high = self.uncertain_low, self.uncertain_high
        if (low is None) != (high is None):
            raise ValueError("uncertain_low and uncertain_high must be given together")
        if low is not None and high is not None:
            if not low < high:
                raise ValueError(f"uncertain_low {low} must be below uncertain_high {high}")
            if not low <= self.threshold <= high:
                raise ValueError(
                    f"threshold {self.threshold} must lie from uncertain_low {low} to uncertain_high {high}"
                )
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether scores are calibrated at all; those of a model without a calibration are no probabilities."""
        return self.prior is not None or (self.temperature, self.bias) != (1.0, 0.0)

    def without_origin(self) -> "Calibration":
        """Only what scores and verdicts depend on, without what it was fitted to."""
        return self.model_copy(update={"prior": None, "fitted_images": None, "weights_sha256": None})


class Score(NamedTuple):
    """The score of one image, and what it was computed from."""

    logit: float
    """z_fake - z_real, before calibration; unbounded, a number of single precision."""
    score: float
    """P(fake) after calibration, 0 to 1."""
    off_script: float
    """Probability of any token but the two verdict words, 0 to 1."""


def score_tokens(logprob_fake: float, logprob_real: float, calibration: Calibration) -> Score:
    """The score from the natural log-probabilities of the two verdict words as the next token.

    The difference of two log-probabilities of one distribution is the difference of their logits. Raises ValueError for
    NaN, or when both words are impossible (-inf), which no sound model says.
    """
    # As results hold it, in single precision: score and verdict can be computed again from them.
    logit = float(np.float32(logprob_fake - logprob_real))
    if math.isnan(logit):
        raise ValueError(f"no score from the log-probabilities {logprob_fake} (fake) and {logprob_real} (real)")
    off_script = min(1.0, max(0.0, 1.0 - math.exp(logprob_fake) - math.exp(logprob_real)))
    return Score(logit, score_of(logit, calibration), off_script)


def score_of(logit: float, calibration: Calibration) -> float:
    """P(fake) of a logit after calibration, 0 to 1."""
    return _sigmoid(logit / calibration.temperature + calibration.bias)


def calibrated(logit: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """The scores of logits, both float64[n]; what `score_tokens` gives one at a time."""
    # tanh does not overflow.
    return (1 + np.tanh((logit / calibration.temperature + calibration.bias) / 2)) / 2


def _sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def decide(score: float, calibration: Calibration) -> Verdict:
    """The verdict for a calibrated score, 0 to 1."""
    low, high = calibration.uncertain_low, calibration.uncertain_high
    if low is not None and high is not None and low <= score < high:
        return Verdict.UNCERTAIN
    return Verdict.FAKE if score >= calibration.threshold else Verdict.REAL


SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
"""Where the next sentence of an answer begins: after . ! ? and white space, and on a new line."""

# A word ends at anything but letters, digits, apostrophes and hyphens: neither "unreal" nor "real-time" is "real".
_VERDICT_WORD = re.compile(r"(?<![\w'’-])(?:real|fake)(?![\w'’-])", re.IGNORECASE)
# A denial at most three words before the verdict word: "not a real image", "doesn't look at all real", "no fake".
_DENIED = re.compile(
    r"(?:\b(?:not|cannot|never|neither|nor|hardly|no)|n['’]t)\s+(?:[\w'’-]+\s+){0,3}(?:real|fake)(?![\w'’-])",
    re.IGNORECASE,
)


def verdict_words(text: str) -> set[Verdict]:
    """Which of the whole words `real` and `fake` a text holds, in any case."""
    return {Verdict(word.lower()) for word in _VERDICT_WORD.findall(text)}


def parse_answer(text: str) -> Verdict:
    """The verdict that an answer in free text states; the same text always gives the same verdict.

    The first sentence with the whole word `real` or `fake` decides. If it holds both words or denies the one it holds,
    or if no sentence holds either, the answer is uncertain.
    """
    for sentence in SENTENCE_END.split(text):
        words = verdict_words(sentence)
        if len(words) == 2 or (words and _DENIED.search(sentence)):
            return Verdict.UNCERTAIN
        if words:
            return words.pop()
    return Verdict.UNCERTAIN
