"""Fits a checkpoint's calibration, and checks it on images that it was not fitted to."""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.model import open_model
from fakescan.evaluate.benchmark import LabelledImage, read_benchmark
from fakescan.evaluate.config import CalibrateConfig
from fakescan.evaluate.judged import JudgedImages, judge
from fakescan.evaluate.table import errors_remark, percent
from fakescan.storage.objects import put_atomic
from fakescan.storage.preflight import check_readable, check_writable
from fakescan.storage.url import file_path, redact, scheme_of
from fakescan.terminal.tables import number_table, wide_console
from fakevlm.checkpoint.card import CARD, read_card, write_card
from fakevlm.errors import UserError
from fakevlm.metrics.calibration import MIN_IMAGES, fit, images_for, threshold_for, uncertain_band, worth
from fakevlm.metrics.classification import Interval, wilson
from fakevlm.metrics.distortion import NONE
from fakevlm.metrics.reliability import brier, confidence_ece
from fakevlm.verdict import Calibration, calibrated

logger = logging.getLogger(__name__)

FILE = "calibration.json"
PARTS = {"fit": 0.4, "threshold": 0.3, "check": 0.3}
"""Shares of the sources: for temperature and bias, for the threshold, and to see whether both hold."""
PREVALENCES = (0.5, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Quality:
    """Quality of scores on the images that nothing was fitted to."""

    ece_15: float
    brier: float


@dataclass(frozen=True)
class CalibrationFit:
    """A fitted calibration and how good it is."""

    calibration: Calibration
    images: dict[str, int]
    """Images of each part."""
    before: Quality
    """Quality with the calibration that the checkpoint had."""
    after: Quality
    fpr_wanted: float
    real: int
    """Real images that the threshold was checked on."""
    false_alarms: int
    fake: int
    """Fake images that it was checked on."""
    detected: int
    """Those of them that reach the threshold."""
    uncertain: int

    @property
    def fpr(self) -> Interval:
        """95 % interval of the false-positive rate on the check's images."""
        return wilson(self.false_alarms, self.real)


@dataclass(frozen=True)
class CalibrationOutcome:
    """How a calibration ended: what was fitted, and where it was put."""

    fit: CalibrationFit
    url: str
    """Address of the file with the calibration."""
    card: str | None
    """Path of the checkpoint's card, which has it now; None where that is not written."""
    errors: dict[str, int]
    """Images without a score, by error code."""


def run_calibration(
    config: CalibrateConfig, *, ray_address: str | None = None, verbose: bool = False
) -> CalibrationOutcome:
    """Judge labelled images, fit, check, and store the result. Raises UserError."""
    check_readable(config.data, config.data_store)
    check_writable(config.output, config.output_store)
    images = read_benchmark(config).images
    check_enough(images, fpr=config.fpr, missed=config.missed, conditions=1 + len(config.conditions))
    old = open_model(config.model, config.model_store, show_progress=True).calibration
    # Not under the checkpoint's own calibration, which changes here: the same command again would be refused.
    judged = judge(
        config.model_copy(update={"calibration": Calibration(), "threshold": None}), images, "calibration",
        conditions=(NONE, *config.conditions), explain=False, ray_address=ray_address, verbose=verbose,
    )  # fmt: skip
    fitted = calibrate(list(judged.values()), old, fpr=config.fpr, missed=config.missed)
    fs, path = config.output_store.filesystem(config.output)
    put_atomic(fs, f"{path}/{FILE}", (fitted.calibration.model_dump_json(indent=1) + "\n").encode())
    card = None if config.engine.is_simulated else _store(config.model, fitted.calibration)
    return CalibrationOutcome(fitted, f"{config.output.rstrip('/')}/{FILE}", card, judged[NONE].errors)


def check_enough(images: Sequence[LabelledImage], *, fpr: float, missed: float, conditions: int) -> None:
    """Print what a calibration takes and what there is. Raises UserError where that is too little for any part of it.

    How the images are divided depends on their sources alone, so that it is known before the first is judged.
    """
    needed: dict[str, dict[bool, int]] = {
        "fit": {False: math.ceil(MIN_IMAGES / conditions), True: math.ceil(MIN_IMAGES / conditions)},
        "threshold": {False: max(1, images_for(fpr)), True: max(1, images_for(missed))},
        "check": {False: 1, True: 1},
    }
    real, fake = (max(math.ceil(needed[part][kind] / PARTS[part]) for part in PARTS) for kind in (False, True))
    counted = Counter((_part(_source(image)), image.is_fake) for image in images)
    fakes = sum(image.is_fake for image in images)
    have = f"a calibration takes about {real:,} real and {fake:,} fake images"
    have += f" at fpr {fpr:g} and missed {missed:g}; you have {len(images) - fakes:,} and {fakes:,}"
    lacking = [
        f"{part} {counted[part, kind]} of {count} {'fake' if kind else 'real'}"
        for part, counts in needed.items()
        for kind, count in counts.items()
        if counted[part, kind] < count
    ]
    if lacking:
        sources = len({_source(image) for image in images})
        of = "" if sources == len(images) else f", of {sources:,} sources, none of which is divided"
        raise UserError(f"data: {have}{of} (too few to {', '.join(lacking)}); add images")
    print(have)


def calibrate(judged: list[JudgedImages], old: Calibration, *, fpr: float, missed: float) -> CalibrationFit:
    """Fit to results under one or more conditions. Raises UserError where there are too few images."""
    truth, logit, part = _joined(judged)
    check, chosen = part == "check", part == "threshold"
    if truth[check].all() or not truth[check].any():
        raise UserError("data: too few sources: none of one class is left to check the calibration on; add images")
    fitting = (part == "fit") & np.isfinite(logit)
    fitted = fit(truth[fitting], logit[fitting])
    scaling = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    score = calibrated(logit, scaling)
    threshold = threshold_for(score[chosen & ~truth], fpr)
    low, high = uncertain_band(score[chosen & truth], threshold, missed)
    flagged = check & (score >= threshold)
    return CalibrationFit(
        calibration=Calibration(
            temperature=fitted.temperature,
            bias=fitted.bias,
            threshold=threshold,
            uncertain_low=low,
            uncertain_high=high,
            prior=fitted.fakes / fitted.samples,
            fitted_images=fitted.samples // len(judged),  # each once, however many of its distorted copies there are
        ),
        images={name: int((part == name).sum()) for name in PARTS},
        before=_quality(truth[check], calibrated(logit[check], old), old.threshold),
        after=_quality(truth[check], score[check], threshold),
        fpr_wanted=fpr,
        real=int((check & ~truth).sum()),
        false_alarms=int((flagged & ~truth).sum()),
        fake=int((check & truth).sum()),
        detected=int((flagged & truth).sum()),
        uncertain=0 if low is None else int((check & (score >= low) & (score < threshold)).sum()),
    )


def _joined(judged: list[JudgedImages]) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_]]:
    """Labels bool[n], logits float64[n] and parts of the images.

    What is fitted to has every image under every condition; for the threshold and the check, which count images, each
    is there under one condition, by its name.
    """
    truth = np.concatenate([one.is_fake for one in judged])
    logit = np.concatenate([one.logit for one in judged])
    part = np.array([_part(_source(image)) for one in judged for image in one.images])
    condition = np.repeat(np.arange(len(judged)), [len(one.images) for one in judged])
    chosen = [int(_position(image.name or image.uri) * len(judged)) for one in judged for image in one.images]
    used = (part == "fit") | (condition == np.array(chosen))
    return truth[used], logit[used], part[used]


def _source(image: LabelledImage) -> str:
    """What an image was made from, by a name that stays when the data set moves: its own path counts from the root."""
    return image.source if image.source != image.uri else image.name or image.uri


def _position(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:6]) / 2**48


def _part(source: str) -> str:
    """The part of a photograph and of all that was made from it."""
    position, total = _position(source), 0.0
    for name, share in PARTS.items():
        total += share
        if position < total:
            return name
    return "check"


def _quality(truth: NDArray[np.bool_], score: NDArray[np.float64], threshold: float) -> Quality:
    return Quality(confidence_ece(truth, score, threshold=threshold), brier(truth, score))


def _store(model: str | None, calibration: Calibration) -> str | None:
    """Write the calibration into the card of a checkpoint in a local folder; the card's path, None without a card."""
    if model is None or scheme_of(model) != "file" or not Path(file_path(model)).is_dir():
        return None
    folder = Path(file_path(model))
    try:
        write_card(folder, read_card(folder).model_copy(update={"calibration": calibration}))
    except OSError as error:
        logger.warning("model: %s cannot be written: %s", folder, error.strerror)
        return None
    return str(folder / CARD)


def print_calibration(outcome: CalibrationOutcome) -> None:
    """Print what was fitted, what it does on other images, and what a verdict is worth where fakes are rare."""
    console, fitted = wide_console(), outcome.fit
    share, calibration = fitted.detected / fitted.fake, fitted.calibration
    print(
        f"temperature {calibration.temperature:.4g}, bias {calibration.bias:.4g}, threshold {calibration.threshold:.4g}"
        f"   (fitted on {fitted.images['fit']:,} images, threshold on {fitted.images['threshold']:,}, "
        f"checked on {fitted.images['check']:,})"
    )
    if calibration.uncertain_low is not None:
        unsure = fitted.uncertain / (fitted.real + fitted.fake)
        print(
            f"uncertain: scores from {calibration.uncertain_low:.4g} to the threshold, {fitted.uncertain:,} images, "
            f"{unsure:.1%} of the check's"
        )
    table = number_table(console, "on images that nothing was fitted to, %", "", "before", "after")
    table.add_row("ECE-15 at the threshold", percent(fitted.before.ece_15), percent(fitted.after.ece_15))
    table.add_row("Brier score", percent(fitted.before.brier), percent(fitted.after.brier))
    console.print(table)
    rate = fitted.false_alarms / fitted.real
    holds = "within" if fitted.fpr.low <= fitted.fpr_wanted else "ABOVE"
    print(f"fakes found: {share:.1%} of {fitted.fake:,}")
    print(
        f"false alarms: wanted at most {fitted.fpr_wanted:.2%}, found {rate:.2%} of {fitted.real:,} real images "
        f"(95 % interval {fitted.fpr.low:.2%} to {fitted.fpr.high:.2%}): {holds} what was asked"
    )
    table = number_table(console, "what the verdict fake is worth", "fakes among the images", "of 100 flagged are fake")
    for prevalence in PREVALENCES:
        table.add_row(f"{prevalence:.1%}", _worth(fitted, prevalence))
    console.print(table)
    print("(from the lowest to the highest false-alarm rate that the check allows)")
    if outcome.errors:
        print(errors_remark(outcome.errors, "score"))
    if outcome.card:
        print(f"stored with the checkpoint: {outcome.card}")
    else:
        print(f"this checkpoint is not written to; scan with --calibration {redact(outcome.url)}")


def _worth(fitted: CalibrationFit, prevalence: float) -> str:
    """How many of 100 flagged images are fake, over the interval of the false-alarm rate."""
    if not fitted.detected and not fitted.false_alarms:
        return "nothing was flagged"
    detected, rates = fitted.detected / fitted.fake, fitted.fpr
    low, high = (100 * worth(detected, rate, prevalence) for rate in (rates.high, rates.low))
    return f"{low:.0f} to {high:.0f}"
