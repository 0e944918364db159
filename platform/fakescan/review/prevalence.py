"""How many images of a run are fake: from a reviewed sample, and as a check from the detector's known error rates."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.review.labels import Labels
from fakescan.review.plan import Stratum
from fakescan.review.sample_file import Sample
from fakevlm.errors import UserError
from fakevlm.metrics.prevalence import Estimate, fakes_in_strata
from fakevlm.verdict import Verdict

MIN_REVIEWED = 20
"""Labels from which on a number is given at all."""


@dataclass(frozen=True)
class Reviewed:
    """Labels of a sample's images, by stratum: int64[strata]."""

    real: NDArray[np.int64]
    fake: NDArray[np.int64]
    unsure: NDArray[np.int64]
    disputed: int
    """Images that one reviewer calls real and another one fake."""
    seen_score: int
    """Images with a label whose reviewer had seen the score."""
    outside: int
    """Images with a label that are not in the sample."""
    in_order: bool
    """Whether those with a label are the first ones of the sample, or nearly: these are as random as all."""

    @property
    def labelled(self) -> NDArray[np.int64]:
        """Images called real or fake."""
        return self.real + self.fake


@dataclass(frozen=True)
class Band:
    """What the labels say of some strata together."""

    name: str
    rows: int
    drawn: int
    reviewed: int
    """Images called real or fake."""
    fakes: int
    """Of them."""
    share: Estimate
    """Of fakes among all its images: where these are flagged, the precision."""


@dataclass(frozen=True)
class Prevalence:
    """How many of a run's images are fake, by a reviewed sample."""

    sample: Sample
    reviewed: Reviewed
    share: Estimate
    """Of fakes among all images with a verdict; images that reviewers are unsure of are left out."""
    if_unsure_real: Estimate
    if_unsure_fake: Estimate
    verdicts: list[Band]
    """By verdict."""
    bands: list[Band]
    """By stratum, which are bands of the score."""

    @property
    def is_above_zero(self) -> bool:
        """Whether it can be told from zero: somebody has found a fake."""
        return bool(self.reviewed.fake.sum())


def reviewed_of(sample: Sample, labels: Labels) -> Reviewed:
    """The labels of the sample's images."""
    count = len(sample.plan.strata)
    cells = {word: np.zeros(count, np.int64) for word in ("real", "fake", "unsure")}
    disputed = seen = 0
    places = list[int]()
    columns = (sample.rows[name].to_pylist() for name in ("sha256", "stratum"))
    for place, (sha256, stratum) in enumerate(zip(*columns, strict=True)):
        found = labels.of_image.get(sha256)
        if found is None or stratum is None:
            continue
        places.append(place)
        cells[found.label][stratum] += 1
        disputed += found.is_disputed
        seen += any(label.seen_score for label in found.by_reviewer.values())
    drawn = set(sample.rows["sha256"].to_pylist())
    outside = sum(sha256 not in drawn for sha256 in labels.of_image)
    return Reviewed(cells["real"], cells["fake"], cells["unsure"], disputed, seen, outside, _in_order(places))


def _in_order(places: list[int]) -> bool:
    """Whether 9 of 10 are among the first: reviewers skip some, and two of them share the work."""
    first = 1.1 * len(places) + 5
    return sum(place < first for place in places) >= 0.9 * len(places)


def prevalence_of(sample: Sample, labels: Labels) -> Prevalence:
    """What the labels say. Raises UserError where the sample cannot tell a prevalence, or has too few labels."""
    plan, reviewed = sample.plan, reviewed_of(sample, labels)
    if not plan.covers_all:
        raise UserError(
            f"design: images of a sample for {plan.design} have no known chance; draw one with --design estimate"
        )
    if reviewed.labelled.sum() < MIN_REVIEWED:
        raise UserError(
            f"labels: {int(reviewed.labelled.sum())} of the {plan.drawn:,} images of the sample are called real or "
            f"fake, {int(reviewed.unsure.sum())} are unsure; it takes at least {MIN_REVIEWED} of the former"
        )
    everything = range(len(plan.strata))
    return Prevalence(
        sample=sample,
        reviewed=reviewed,
        share=_share(plan.strata, reviewed.labelled, reviewed.fake, everything),
        if_unsure_real=_share(plan.strata, reviewed.labelled + reviewed.unsure, reviewed.fake, everything),
        if_unsure_fake=_share(
            plan.strata, reviewed.labelled + reviewed.unsure, reviewed.fake + reviewed.unsure, everything
        ),
        verdicts=[
            _band(verdict, plan.strata, reviewed, [n for n in everything if plan.strata[n].verdict == verdict])
            for verdict in (Verdict.FAKE, Verdict.UNCERTAIN, Verdict.REAL)
            if any(stratum.verdict == verdict for stratum in plan.strata)
        ],
        bands=[_band(plan.strata[n].name, plan.strata, reviewed, [n]) for n in everything],
    )


def _band(name: str, strata: list[Stratum], reviewed: Reviewed, numbers: list[int]) -> Band:
    return Band(
        name=str(name),
        rows=sum(strata[number].rows for number in numbers),
        drawn=sum(strata[number].drawn for number in numbers),
        reviewed=int(reviewed.labelled[numbers].sum()),
        fakes=int(reviewed.fake[numbers].sum()),
        share=_share(strata, reviewed.labelled, reviewed.fake, numbers),
    )


def _share(
    strata: list[Stratum], labelled: NDArray[np.int64], fakes: NDArray[np.int64], numbers: Iterable[int]
) -> Estimate:
    chosen = list(numbers)
    rows = [strata[number].rows for number in chosen]
    return fakes_in_strata(rows, labelled[chosen], fakes[chosen]) / sum(rows)


def between(estimate: Estimate) -> str:
    """`between 0.8 % and 1.3 %`, or a bound; rounded outwards, so that it never gets narrower by being read."""
    low, high = _percent(estimate.low, math.floor), _percent(estimate.high, math.ceil)
    if estimate.low == estimate.high:  # all of them were looked at
        return f"{_percent(estimate.value, round)} %"
    if estimate.low <= 0 and estimate.high >= 1:
        return "anything from 0 % to 100 %"
    if estimate.low <= 0:
        return f"at most {high} %"
    if estimate.high >= 1:
        return f"at least {low} %"
    return f"between {low} % and {high} %"


def _percent(share: float, towards: Callable[[float], int]) -> str:
    """Two digits, counted from the nearer end: 0.83, 12, 99.4."""
    percent = 100 * share
    if percent <= 0 or percent >= 100:
        return "0" if percent <= 0 else "100"
    digits = min(6, max(0, 1 - math.floor(math.log10(min(percent, 100 - percent)))))
    rounded = towards(round(percent * 10**digits, 6)) / 10**digits
    return f"{rounded:.{digits}f}" if 0 < rounded < 100 else f"{rounded:.0f}"


def labels_by_row(rows: pa.Table, labels: Labels) -> pa.Array:
    """The label of each row by its SHA-256, null where nobody gave one."""
    return pa.array(
        [labels.of_image[key].label if key in labels.of_image else None for key in rows["sha256"].to_pylist()],
        pa.string(),
    )


def known_rows(rows: pa.Table, labels: Labels) -> pa.Table:
    """The rows that are called real or fake, with `label`."""
    found = rows.append_column("label", labels_by_row(rows, labels))
    return found.filter(pc.is_in(found["label"], pa.array(["real", "fake"])))
