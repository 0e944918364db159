"""Fits a checkpoint's calibration to labelled images: temperature and bias, the threshold, and the uncertain band.

Fit the temperature on other images than the threshold, and measure on a third set: what has been fitted to images looks
better on them than it is.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fakevlm.errors import UserError
from fakevlm.metrics.classification import labelled_scores

MIN_IMAGES = 20
"""Images of each class to fit two numbers to; with fewer, some odd ones would decide."""


def images_for(share: float) -> int:
    """The fewest images of which a quantile can be set for a share of new ones, 99 for 0.01; 0 where any will do."""
    return max(0, math.ceil(1 / Fraction(repr(float(share)))) - 1)


class Fit(NamedTuple):
    """Platt scaling: score = sigmoid(logit / temperature + bias)."""

    temperature: float
    """Above 0."""
    bias: float
    samples: int
    fakes: int
    """How many of the samples."""


def fit(is_fake: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None) -> Fit:
    """Fits temperature and bias by maximum likelihood to labels, bool[n] with True for fake, and logits, float[n].

    `weight`, float[n] above 0: how many images each stands for, as one over its chance to be in a sample; 1 for all
    where there is none. Then the score is a probability among all the images that were drawn from.

    Platt's targets (1999), just short of 0 and 1, keep both finite on data that a threshold divides. The share of fakes
    among these images becomes the score's prior. Raises UserError for fewer than 20 images of a class and where logits
    do not rise from real to fake; TypeError for labels that are not bool, ValueError for logits that are not finite and
    for unequal lengths.
    """
    truth, x = labelled_scores(is_fake, logit)
    if not np.isfinite(x).all():
        raise ValueError(f"{int((~np.isfinite(x)).sum())} of {len(x)} logits are infinite")
    fakes = int(truth.sum())
    reals = len(truth) - fakes
    for name, count in (("fake", fakes), ("real", reals)):
        if count < MIN_IMAGES:
            raise UserError(f"calibration: {count or 'no'} {name} images, it takes at least {MIN_IMAGES}; add some")
    stands_for = np.ones(len(x)) if weight is None else np.asarray(weight, np.float64)
    if stands_for.shape != x.shape or not (stands_for > 0).all():
        raise ValueError("weights must be one number above 0 for each image")
    of_fakes, of_reals = float(stands_for[truth].sum()), float(stands_for[~truth].sum())
    target = np.where(truth, (of_fakes + 1) / (of_fakes + 2), 1 / (of_reals + 2))
    # Newton's steps need an x of about 1.
    middle, spread = float(x.mean()), float(x.std())
    slope, offset = _maximum_likelihood((x - middle) / spread, target, stands_for) if spread else (0.0, 0.0)
    if slope <= 0:
        raise UserError("calibration: logits of fake images are not above those of real ones; use another checkpoint")
    temperature = spread / slope
    return Fit(temperature, offset - middle / temperature, len(truth), fakes)


def threshold_for(real_scores: ArrayLike, fpr: float) -> float:
    """The lowest threshold that a new real image reaches with a probability of at most `fpr`, above 0 and below 1.

    `real_scores`, float[n] from 0 to 1, are of real images like those to come; the probability is over their choice,
    too. It is just above the ceil((n + 1)(1 - fpr))-th lowest of them (split conformal prediction, Vovk et al. 2005),
    so that images which tie with that one stay real. Raises UserError when n is below 1 / fpr - 1, when the score to be
    above of is 1, and for an fpr that is not a share; ValueError for values that are not scores.
    """
    values = _sorted_scores(real_scores)
    above = _rank(len(values), fpr, "fpr", "real")
    score = values[len(values) - above]
    # A step of float32, the type of the column `score`: then it is above the score both as computed and as stored.
    threshold = np.nextafter(np.float32(score), np.float32(2))
    if threshold >= 1:
        raise UserError(f"fpr: more than {fpr:g} of the real images score 1, no threshold is above; use a larger fpr")
    return float(threshold)


def uncertain_band(
    fake_scores: ArrayLike, threshold: float, missed: float = 0.05
) -> tuple[float, float] | tuple[None, None]:
    """The scores below the threshold at which too many fakes lie for the verdict real: `uncertain_low` and `_high`.

    A new fake image scores below the low end, and passes as real, with a probability of at most `missed`. The low end
    is the floor((n + 1) missed)-th lowest of `fake_scores`, float[n] from 0 to 1; the high end is the threshold. Both
    are None where so few fakes lie below the threshold that no band is needed. Raises UserError when n is below
    1 / missed - 1 and for one that is not a share; ValueError for values that are not scores.
    """
    values = _sorted_scores(fake_scores)
    low = float(values[_rank(len(values), missed, "missed", "fake") - 1])
    return (low, threshold) if low < threshold else (None, None)


def worth(tpr: float, fpr: float, prevalence: float) -> float:
    """Share of the flagged images that are fake, where `prevalence` of all images are (Bayes); NaN if none is flagged.

    All from 0 to 1, else ValueError; NaN for NaN.
    """
    for name, value in (("tpr", tpr), ("fpr", fpr), ("prevalence", prevalence)):
        if value < 0 or value > 1:
            raise ValueError(f"{name} must be 0 to 1, got {value}")
    flagged = tpr * prevalence + fpr * (1 - prevalence)
    return tpr * prevalence / flagged if flagged else float("nan")


def _maximum_likelihood(
    x: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and offset of the weighted logistic regression of `target`, 0 to 1, on x; Newton's method, halved steps.

    As Lin, Lin and Weng (2007) do it. The loss is strictly convex: x is not constant, and no target is 0 or 1.
    """
    design = np.stack([x, np.ones_like(x)], axis=1)
    weight = weight / weight.mean()

    def loss(at: NDArray[np.float64]) -> float:
        line = design @ at
        return float((weight * (np.logaddexp(0.0, line) - target * line)).mean())

    weights = np.array([0.0, math.log((weight * target).sum() / (weight * (1 - target)).sum())])
    for _ in range(100):
        # tanh does not overflow.
        probability = (1 + np.tanh(design @ weights / 2)) / 2
        gradient = design.T @ (weight * (probability - target)) / len(x)
        curvature = (design.T * (weight * probability * (1 - probability))) @ design / len(x)
        # The ridge keeps it invertible where every probability is all but 0 or 1.
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), -gradient)
        promise = float(-gradient @ step)
        if promise < 1e-12:
            # So near that a whole step is right, and the loss too flat to tell.
            weights = weights + step
            return float(weights[0]), float(weights[1])
        size, now = 1.0, loss(weights)
        while loss(weights + size * step) > now - 1e-4 * size * promise:
            size /= 2
        weights = weights + size * step
    raise AssertionError("Newton's method did not converge")


def _rank(count: int, share: float, name: str, kind: str) -> int:
    """How many of `count` + 1 images are at most the share of them. Raises UserError where that is none."""
    if not 0 < share < 1:
        raise UserError(f"{name}: must be above 0 and below 1, got {share}")
    # The share as it is written: in binary, 1000 times 0.001 may fall short of 1.
    exact = Fraction(repr(float(share)))
    rank = math.floor((count + 1) * exact)
    if not rank:
        raise UserError(f"{name}: {share:g} takes at least {images_for(share):,} {kind} images, got {count:,}")
    return rank


def _sorted_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """The scores, lowest first. Raises ValueError unless all are 0 to 1."""
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("scores must be one row of numbers from 0 to 1")
    return values
