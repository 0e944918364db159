"""Medians with their spread, and how far two engines' scores lie apart."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fakevlm.metrics.classification import auroc
from fakevlm.verdict import Calibration, decide, score_tokens


@dataclass(frozen=True)
class Spread:
    """Several measurements of the same thing."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """Median and range; None where nothing was measured."""
    known = [value for value in values if math.isfinite(value)]
    return Spread(statistics.median(known), min(known), max(known), len(known)) if known else None


@dataclass(frozen=True)
class Answers:
    """The two log-probabilities of each labelled image, in the order of the images: as far as an engine has got."""

    fake: tuple[float, ...]
    real: tuple[float, ...]


@dataclass(frozen=True)
class Differences:
    """How far the scores of one engine lie from those of another, over the images that both have judged."""

    images: int
    score_mean: float
    score_largest: float
    logit_largest: float
    flips: int
    """Images with another verdict."""
    auroc: float | None
    """Of the first engine on real and forged images; None where both kinds are not there."""
    auroc_base: float | None
    """Of the other."""


def differences(
    answers: Answers, base: Answers, is_fake: Sequence[bool], calibration: Calibration
) -> Differences | None:
    """Of `answers` from `base`; None where they have no image in common."""
    count = min(len(answers.fake), len(base.fake))
    ours, others = _scores(answers, count, calibration), _scores(base, count, calibration)
    both = [index for index in range(count) if ours[index] is not None and others[index] is not None]
    if not both:
        return None
    pairs = [(ours[index], others[index]) for index in both]
    apart = [abs(one[0] - other[0]) for one, other in pairs if one is not None and other is not None]
    logits = [abs(one[1] - other[1]) for one, other in pairs if one is not None and other is not None]
    flips = sum(one[2] != other[2] for one, other in pairs if one is not None and other is not None)
    labels = [is_fake[index] for index in both]
    return Differences(
        images=len(both),
        score_mean=statistics.fmean(apart),
        score_largest=max(apart),
        logit_largest=max(logits),
        flips=flips,
        auroc=_area(labels, [one[0] for one, _ in pairs if one is not None]),
        auroc_base=_area(labels, [other[0] for _, other in pairs if other is not None]),
    )


def _scores(answers: Answers, count: int, calibration: Calibration) -> list[tuple[float, float, str] | None]:
    """Score, logit and verdict of each of the first images; None for one without an answer."""
    found: list[tuple[float, float, str] | None] = []
    for fake, real in zip(answers.fake[:count], answers.real[:count], strict=True):
        try:
            score = score_tokens(fake, real, calibration)
        except ValueError:
            found.append(None)
            continue
        found.append((score.score, score.logit, str(decide(score.score, calibration))))
    return found


def _area(labels: Sequence[bool], scores: Sequence[float]) -> float | None:
    value = auroc(np.array(labels, bool), np.array(scores, float))
    return value if math.isfinite(value) else None
