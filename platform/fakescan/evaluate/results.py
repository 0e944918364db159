"""What is measured of a checkpoint on a benchmark, as metrics.json holds it: null is undefined, and says why."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from fakescan.settings.strict_model import StrictModel
from fakevlm.metrics.classification import (
    accuracy,
    auroc,
    auroc_interval,
    average_precision,
    balanced_accuracy,
    confusion,
    f1,
    macro_f1,
    tpr_at_fpr,
    wilson,
)
from fakevlm.metrics.reliability import brier, confidence_ece, ece
from fakevlm.reading import Meaning
from fakevlm.verdict import Verdict

METRICS, IMAGES, REPORT = "metrics.json", "images.parquet", "report.html"
"""Names of the files that an evaluation leaves in its folder."""


MIN_FOR_ECE = 150
"""Images for a calibration error: ten in each of 15 bins. Fewer show mostly their own chance as an error."""

Defined = Annotated[float | None, BeforeValidator(lambda value: None if value != value else value)]
"""A number; null for NaN, which stands for a value that is not defined."""


class Scores(StrictModel):
    """Numbers of one set of images. Positive means fake; all but counts are shares from 0 to 1."""

    images: int
    fakes: int
    recall_fake: Defined = None
    """Share of the fake images at or above the threshold."""
    recall_fake_low: Defined = None
    """95 % Wilson interval."""
    recall_fake_high: Defined = None
    precision_fake: Defined = None
    """Share of fake ones among the images at or above the threshold; it falls where fakes are rarer than here."""
    precision_fake_low: Defined = None
    """95 % Wilson interval."""
    precision_fake_high: Defined = None
    accuracy: Defined
    """Share of images on the right side of the threshold; the uncertain band does not matter here."""
    accuracy_low: Defined
    """95 % Wilson interval."""
    accuracy_high: Defined
    uncertain: Defined = None
    """Share of the images whose verdict is `uncertain`; accuracy counts them by the threshold all the same."""
    false_alarms: Defined
    """Share of the real images at or above the threshold."""
    false_alarms_low: Defined
    """95 % Wilson interval."""
    false_alarms_high: Defined
    f1_fake: Defined
    f1_real: Defined
    """The paper's F1."""
    f1_macro: Defined
    balanced_accuracy: Defined
    auroc: Defined
    auroc_low: Defined = None
    """95 % interval (Newcombe 2006)."""
    auroc_high: Defined = None
    average_precision: Defined
    tpr_at_fpr_1: Defined
    """Share of the fakes found by the threshold that 1 % of these real images reach; null for fewer than 100."""
    tpr_at_fpr_5: Defined
    ece_15: Defined
    """Calibration error of the confidence in the verdict at this threshold (Guo et al. 2017, who have 0.5)."""
    ece_15_fake: Defined
    """Calibration error of the score, P(fake)."""
    brier: Defined
    fake_as_fake: int
    fake_as_real: int
    fake_uncertain: int
    real_as_real: int
    real_as_fake: int
    real_uncertain: int
    undefined: dict[str, str] = Field({})
    """Why a value is null, by its name."""


class GeneratorScores(StrictModel):
    """Numbers of one generator's images."""

    fakes: int
    found: Defined
    """Share of them at or above the threshold."""
    found_low: Defined
    """95 % Wilson interval."""
    found_high: Defined
    auroc: Defined
    """Against all real images of the set; null where there are none."""
    auroc_low: Defined = None
    """95 % interval (Newcombe 2006)."""
    auroc_high: Defined = None


class Texts(StrictModel):
    """Numbers of the explanations."""

    explained: int
    other_word: int = 0
    """Explanations, in the model's own words, of images whose verdict is not the model's own word."""
    compared: int
    """Images with a reference answer."""
    rouge_l: Defined
    css: Defined
    """Mean cosine similarity of sentence embeddings."""
    encoder: str | None
    """Name and revision of the similarity's encoder, without which its numbers cannot be compared."""
    most_common: str
    """The sentence in most explanations."""
    most_common_share: Defined
    distinct_1: Defined
    distinct_2: Defined
    distinct_texts: Defined


class Controls(StrictModel):
    """What else could explain the numbers."""

    headers_auroc: Defined
    """AUROC of a classifier that sees format, size and aspect, and no pixel."""
    separable: bool
    """Whether that is so much that the pixels may not be what is measured."""
    duplicates: int | None
    """Images that nearly are in the training set; null when none was named."""
    unhashed: int | None
    """Images of both sets that could not be compared."""
    duplicates_excluded: bool


class Results(StrictModel):
    """An evaluation."""

    benchmark: str
    data: str
    split: str | None
    model: str
    weights_sha256: str
    warning: str | None
    meaning: Meaning | None = None
    """What the verdicts are worth; null in an evaluation from before it was written down."""
    prompt_format: str
    temperature: float
    bias: float
    threshold: float
    sampled: bool
    repeated: int
    """Records left out because their image had come before."""
    left_out: int = 0
    """Images of a tree that no folder says the label of."""
    left_out_names: list[str] = Field([])
    """The first of them."""
    errors: dict[str, int]
    """Images without a verdict, by error code; they are counted in no other number."""
    overall: Scores
    categories: dict[str, Scores]
    generators: dict[str, GeneratorScores]
    texts: Texts | None
    controls: Controls
    conditions: dict[str, Scores]
    """Numbers of distorted images at the same threshold; `none` is the images as they are."""


def scores(
    is_fake: NDArray[np.bool_],
    score: NDArray[np.float64],
    logit: NDArray[np.float64],
    verdicts: Sequence[str],
    threshold: float,
) -> Scores:
    """All numbers of some images: labels bool[n], P(fake) and logits float[n], and the n verdicts that were given.

    What depends on the order alone is taken from the logits: scores near 1 are equal where logits are not.
    """
    said = score >= threshold
    fakes, reals = int(is_fake.sum()), int((~is_fake).sum())
    interval = wilson(int((said == is_fake).sum()), len(is_fake))
    alarms, found = int((said & ~is_fake).sum()), int((said & is_fake).sum())
    alarm_interval, recall, precision = wilson(alarms, reals), wilson(found, fakes), wilson(found, alarms + found)
    counts = confusion(is_fake, [Verdict(verdict) for verdict in verdicts])
    unsure = counts.fake_uncertain + counts.real_uncertain
    order = auroc(is_fake, logit)
    order_interval = auroc_interval(order, fakes, reals)
    values = {
        "recall_fake": found / fakes if fakes else math.nan,
        "recall_fake_low": recall.low,
        "recall_fake_high": recall.high,
        "precision_fake": found / (alarms + found) if alarms + found else math.nan,
        "precision_fake_low": precision.low,
        "precision_fake_high": precision.high,
        "uncertain": unsure / len(is_fake) if len(is_fake) else math.nan,
        "accuracy": accuracy(is_fake, said),
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "false_alarms": alarms / reals if reals else math.nan,
        "false_alarms_low": alarm_interval.low,
        "false_alarms_high": alarm_interval.high,
        "f1_fake": f1(is_fake, said),
        "f1_real": f1(~is_fake, ~said),
        "f1_macro": macro_f1(is_fake, said),
        "balanced_accuracy": balanced_accuracy(is_fake, said),
        "auroc": order,
        "auroc_low": order_interval.low,
        "auroc_high": order_interval.high,
        "average_precision": average_precision(is_fake, logit),
        "tpr_at_fpr_1": tpr_at_fpr(is_fake, logit, 0.01).tpr,
        "tpr_at_fpr_5": tpr_at_fpr(is_fake, logit, 0.05).tpr,
        "ece_15": confidence_ece(is_fake, score, threshold=threshold),
        "ece_15_fake": ece(is_fake, score),
        "brier": brier(is_fake, score),
    }
    missing = "real images" if fakes else "fake images" if reals else "images"
    undefined = {name: f"there are no {missing}" for name, value in values.items() if math.isnan(value)}
    if not alarms + found:
        undefined |= dict.fromkeys((name for name in undefined if "precision" in name), "no image was called fake")
    for name, why in _unresolved(len(is_fake), reals).items():
        values[name] = math.nan
        undefined.setdefault(name, why)
    return Scores.model_validate(
        {"images": len(is_fake), "fakes": fakes, **values, **counts._asdict(), "undefined": undefined}
    )


def _unresolved(images: int, reals: int) -> dict[str, str]:
    """Numbers that so few images cannot tell, and why."""
    found = {
        name: f"{100 * rate:g} % of {reals} real images is less than one"
        for name, rate in {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}.items()
        if 0 < reals < 1 / rate
    }
    if 0 < images < MIN_FOR_ECE:
        found |= dict.fromkeys(("ece_15", "ece_15_fake"), f"15 bins take {MIN_FOR_ECE} images, there are {images}")
    return found
