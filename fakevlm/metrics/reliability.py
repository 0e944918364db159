"""How far scores can be taken as probabilities: the reliability diagram, calibration errors and the Brier score.

Labels are bool[n] with True for fake (else TypeError), scores float[n] are P(fake). What is not defined is NaN.
ValueError: a score is NaN or outside 0 to 1, the lengths differ, or there are no bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fakevlm.metrics.classification import labelled_scores


@dataclass(frozen=True)
class Bin:
    """The images whose scores lie in one of the equal parts of 0 to 1."""

    count: int
    mean_score: float
    """NaN where the bin is empty, as is the share."""
    share_fake: float


def reliability(is_fake: ArrayLike, score: ArrayLike, bins: int = 15) -> list[Bin]:
    """The reliability diagram: bin i of `bins` holds the scores above i / bins and up to (i + 1) / bins.

    bool[n] and float[n]. A score of 0 is in the first. An edge belongs to the lower bin as in Guo et al. (2017,
    section 2) and in scikit-learn.
    """
    truth, values = _probabilities(is_fake, score)
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins}")
    place = np.digitize(values, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_score = np.bincount(place, weights=values, minlength=bins) / count
        share_fake = np.bincount(place, weights=truth, minlength=bins) / count
    return [Bin(*row) for row in zip(count.tolist(), mean_score.tolist(), share_fake.tolist(), strict=True)]


def ece(is_fake: ArrayLike, score: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of P(fake): mean distance of a bin's share of fakes from its mean score, by images.

    bool[n] and float[n]; NaN without images. This is what the reliability diagram shows. It is not what papers call
    ECE-15, which looks at the confidence in the verdict: that is `confidence_ece`.
    """
    filled = [one for one in reliability(is_fake, score, bins) if one.count]
    total = sum(one.count for one in filled)
    return sum(one.count * abs(one.share_fake - one.mean_score) for one in filled) / total if total else float("nan")


def confidence_ece(is_fake: ArrayLike, score: ArrayLike, bins: int = 15, *, threshold: float = 0.5) -> float:
    """What papers call ECE, or ECE-15 with these bins (Guo et al. 2017): of the confidence against right verdicts.

    bool[n] and float[n]; NaN without images. A verdict is fake from `threshold` on; its confidence is p for fake and
    1 - p for real. At 0.5, which papers take, that is max(p, 1 - p), and the lower half of the bins stays empty. Errors
    on fake and on real images can cancel out in a bin.
    """
    truth, values = _probabilities(is_fake, score)
    said = values >= threshold
    return ece(said == truth, np.where(said, values, 1.0 - values), bins)


def even_bins(is_fake: ArrayLike, score: ArrayLike, *, bins: int = 10, least: int = 20) -> list[Bin]:
    """Bins of about as many images each, for a picture: at most `bins`, and none of fewer than `least` images.

    bool[n] and float[n]. Images with one score are in one bin. With few images there is one bin. Equal parts of 0 to 1,
    which `reliability` has, leave some with an image or two, whose share of fakes is 0 or 1 and says nothing.
    """
    truth, values = _probabilities(is_fake, score)
    if not len(truth):
        return []
    order = np.argsort(values, kind="stable")
    truth, values = truth[order], values[order]
    count = max(1, min(bins, len(values) // least))
    edges = [0]
    for number in range(1, count):
        at = int(np.searchsorted(values, values[number * len(values) // count], side="left"))
        if at - edges[-1] >= least and len(values) - at >= least:
            edges.append(at)
    parts = zip(edges, [*edges[1:], len(values)], strict=True)
    return [Bin(end - start, float(values[start:end].mean()), float(truth[start:end].mean())) for start, end in parts]


def brier(is_fake: ArrayLike, score: ArrayLike) -> float:
    """Mean squared distance of P(fake) from 1 for fakes and 0 for reals (Brier 1950); NaN without images.

    bool[n] and float[n].
    """
    truth, values = _probabilities(is_fake, score)
    return float(np.square(values - truth).mean()) if len(truth) else float("nan")


def _probabilities(is_fake: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth, values = labelled_scores(is_fake, score)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"scores must be 0 to 1, got {values.min():g} to {values.max():g}")
    return truth, values
