"""How far a review is, and whether its reviewers agree."""

import itertools
from collections import Counter
from dataclasses import dataclass
from statistics import median

from fakescan.review.labels import Labels
from fakescan.review.prevalence import reviewed_of
from fakescan.review.sample_file import Sample
from fakevlm.metrics.agreement import cohen_kappa, krippendorff_alpha


@dataclass(frozen=True)
class ReviewerWork:
    """What one reviewer has done."""

    name: str
    labels: int
    real: int
    fake: int
    unsure: int
    median_seconds: float | None
    """For an image; None where nobody measured."""


@dataclass(frozen=True)
class PairAgreement:
    """How two reviewers agree on the images that both have labelled."""

    first: str
    second: str
    images: int
    agreed: int
    kappa: float
    """Cohen's; NaN where it is not defined."""


@dataclass(frozen=True)
class SelfAgreement:
    """How a reviewer agrees with what the same reviewer said when looking at an image the first time."""

    reviewer: str
    images: int
    agreed: int
    kappa: float
    """Cohen's; NaN where it is not defined."""


@dataclass(frozen=True)
class StratumProgress:
    """How far the review of a stratum is."""

    name: str
    rows: int
    drawn: int
    real: int
    fake: int
    unsure: int


@dataclass(frozen=True)
class SampleProgress:
    """How far the review of a sample is."""

    design: str
    drawn: int
    labelled: int
    """Images with a label, unsure ones among them; of the design `qa`, those that were looked at twice."""
    strata: list[StratumProgress]


@dataclass(frozen=True)
class ReviewStatus:
    """How far a review is."""

    samples: list[SampleProgress]
    images: int
    """Images with a label."""
    outside: int
    """Images with a label that are in no sample of the run."""
    disputed: int
    replaced: int
    """Labels that the same reviewer has replaced later."""
    reviewers: list[ReviewerWork]
    pairs: list[PairAgreement]
    selves: list[SelfAgreement]
    alpha: float | None
    """Krippendorff's, over all reviewers; None for fewer than three, NaN where it is not defined."""


def review_status(samples: list[Sample], labels: Labels) -> ReviewStatus:
    """Progress by sample and stratum, and agreement by pair of reviewers."""
    names = labels.reviewers
    drawn = {sha256 for sample in samples for sha256 in sample.rows["sha256"].to_pylist()}
    return ReviewStatus(
        samples=[_progress(sample, labels) for sample in samples],
        images=len(labels.of_image),
        outside=sum(sha256 not in drawn for sha256 in labels.of_image),
        disputed=sum(image.is_disputed for image in labels.of_image.values()),
        replaced=labels.changed,
        reviewers=[_work(name, labels) for name in names],
        pairs=[pair for both in itertools.combinations(names, 2) if (pair := _pair(*both, labels)).images],
        selves=[own for name in names if (own := _self(name, labels)).images],
        alpha=krippendorff_alpha(_words(labels)) if len(names) > 2 else None,
    )


def _progress(sample: Sample, labels: Labels) -> SampleProgress:
    if sample.plan.design == "qa":
        return SampleProgress("qa", sample.rows.num_rows, _looked_twice(sample, labels), [])
    found = reviewed_of(sample, labels)
    return SampleProgress(
        design=sample.plan.design,
        drawn=sample.rows.num_rows,
        labelled=sum(sha256 in labels.of_image for sha256 in sample.rows["sha256"].to_pylist()),
        strata=[
            StratumProgress(
                name=stratum.name,
                rows=stratum.rows,
                drawn=stratum.drawn,
                real=int(found.real[number]),
                fake=int(found.fake[number]),
                unsure=int(found.unsure[number]),
            )
            for number, stratum in enumerate(sample.plan.strata)
        ],
    )


def _looked_twice(sample: Sample, labels: Labels) -> int:
    """Images of a sample that two reviewers have labelled, or one of them twice."""
    again = {sha256 for sha256, _ in labels.second_looks}
    return sum(
        key in again or (key in labels.of_image and len(labels.of_image[key].by_reviewer) > 1)
        for key in sample.rows["sha256"].to_pylist()
    )


def _work(name: str, labels: Labels) -> ReviewerWork:
    given = [image.by_reviewer[name] for image in labels.of_image.values() if name in image.by_reviewer]
    words = Counter(label.label for label in given)
    seconds = [label.seconds for label in given if label.seconds is not None]
    return ReviewerWork(
        name, len(given), words["real"], words["fake"], words["unsure"], median(seconds) if seconds else None
    )


def _pair(first: str, second: str, labels: Labels) -> PairAgreement:
    both = [
        (image.by_reviewer[first].label, image.by_reviewer[second].label)
        for image in labels.of_image.values()
        if first in image.by_reviewer and second in image.by_reviewer
    ]
    return PairAgreement(first, second, len(both), sum(one == other for one, other in both), cohen_kappa(both))


def _self(name: str, labels: Labels) -> SelfAgreement:
    both = [
        (first.label, label.label)
        for (sha256, reviewer), label in labels.second_looks.items()
        if reviewer == name
        and sha256 in labels.of_image
        and (first := labels.of_image[sha256].by_reviewer.get(name)) is not None
    ]
    return SelfAgreement(name, len(both), sum(one == other for one, other in both), cohen_kappa(both))


def _words(labels: Labels) -> list[list[str]]:
    return [[label.label for label in image.by_reviewer.values()] for image in labels.of_image.values()]
