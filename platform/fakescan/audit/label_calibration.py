"""A calibration from the labels of a run's own images: its scores are probabilities among the images of that run.

A sample prefers images, so each counts as many times as it stands for: by one over its chance to be drawn. Without
that, the share of fakes among the labels would be taken for that of the run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.review.labels import Labels
from fakescan.review.prevalence import known_rows
from fakescan.review.sample_file import Sample
from fakevlm.errors import UserError
from fakevlm.metrics.calibration import fit
from fakevlm.verdict import Calibration, calibrated


@dataclass(frozen=True)
class LabelCalibration:
    """What was fitted to labels, and what it does to the images that they stand for."""

    calibration: Calibration
    labels: int
    fakes: int
    """Of the labels."""
    false_alarms: float
    """Share of the real images at or above the threshold, of those that the labels stand for."""
    found: float
    """Share of the fakes at or above it."""
    flagged_before: float
    """Share of all images that the calibration of the run flags, by the same labels."""


def calibrate_with_labels(
    sample: Sample, labels: Labels, before: Calibration, *, fpr: float, missed: float
) -> LabelCalibration:
    """Fit temperature, bias, threshold and uncertain band. Raises UserError for a sample that may not feed one."""
    if not sample.plan.covers_all:
        raise UserError(
            f"design: images of a sample for {sample.plan.design} have no known chance to be in it; "
            "a calibration takes --design estimate or threshold"
        )
    rows = known_rows(sample.rows, labels)
    truth = np.array([label == "fake" for label in rows["label"].to_pylist()], bool)
    logit = rows["logit"].to_numpy().astype(np.float64)
    weight = _stands_for(sample, rows["stratum"].to_numpy())
    # A model that rules out one of the words is sure whatever the temperature: it says nothing of that.
    is_finite = np.isfinite(logit)
    fitted = fit(truth[is_finite], logit[is_finite], weight[is_finite])
    scaling = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    score = calibrated(logit, scaling)
    threshold = _threshold(score[~truth], weight[~truth], fpr)
    low = _low_end(score[truth], weight[truth], missed)
    is_band = low < threshold
    calibration = Calibration(
        temperature=fitted.temperature,
        bias=fitted.bias,
        threshold=threshold,
        uncertain_low=low if is_band else None,
        uncertain_high=threshold if is_band else None,
        prior=float(weight[truth].sum() / weight.sum()),
        fitted_images=len(truth),
    )
    flagged = score >= threshold
    was_flagged = calibrated(logit, before) >= before.threshold
    return LabelCalibration(
        calibration=calibration,
        labels=len(truth),
        fakes=int(truth.sum()),
        false_alarms=_share(flagged, weight, ~truth),
        found=_share(flagged, weight, truth),
        flagged_before=_share(was_flagged, weight, np.ones(len(truth), bool)),
    )


def _stands_for(sample: Sample, strata: NDArray[np.int32]) -> NDArray[np.float64]:
    """How many images each labelled one stands for: those of its stratum, divided by the labels that this has."""
    labelled = np.bincount(strata, minlength=len(sample.plan.strata))
    sizes = np.array([stratum.rows for stratum in sample.plan.strata], np.float64)
    if lacking := [
        stratum.name for stratum, count in zip(sample.plan.strata, labelled, strict=True) if stratum.rows and not count
    ]:
        raise UserError(
            f"labels: no image of {lacking[0]} has one that says real or fake; go on with the review, of which these "
            "are a part"
        )
    return sizes[strata] / labelled[strata]


def _threshold(scores: NDArray[np.float64], weights: NDArray[np.float64], fpr: float) -> float:
    """The lowest threshold that at most `fpr` of the real images reach, as far as their labels show it."""
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    within = int((reached <= fpr).sum())
    if not within:
        raise UserError(
            f"fpr: one labelled image stands for {reached[0]:.2%} of the real ones, so {fpr:.2%} cannot be held; label "
            "more, best with --design threshold, or allow more with --fpr"
        )
    bound = scores[order][within] if within < len(scores) else scores[order][-1]
    threshold = float(np.nextafter(np.float32(bound), np.float32(2)))
    if threshold >= 1:
        raise UserError(f"fpr: more than {fpr:g} of the real images score 1, no threshold is above; use a larger fpr")
    return threshold


def _low_end(scores: NDArray[np.float64], weights: NDArray[np.float64], missed: float) -> float:
    """The highest score that at most `missed` of the fakes lie below."""
    order = np.argsort(scores, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    return float(scores[order][int((below <= missed).sum())])


def _share(flagged: NDArray[np.bool_], weights: NDArray[np.float64], of: NDArray[np.bool_]) -> float:
    return float(weights[flagged & of].sum() / weights[of].sum())
