"""Everything that can be said of the prevalence in a run: from labels, from error rates, or that nothing can."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from fakescan.review.error_rates import rates_of_counts, rates_of_evaluation
from fakescan.review.labels import Labels
from fakescan.review.pictures.picture_prevalence import PicturePrevalence, picture_prevalence
from fakescan.review.plan import COVERING
from fakescan.review.prevalence import Prevalence, between, prevalence_of
from fakescan.review.sample_file import read_sample
from fakescan.run.counts import Counts
from fakescan.run.facts.run_facts import count_run
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.metrics.prevalence import ErrorRates, Estimate, Kind, rogan_gladen
from fakevlm.reading import Meaning

FirstImages = Callable[[int], Iterable[pa.Table]]
"""Gives the first image of every picture, for a number of images with a verdict; see `picture_prevalence`."""


@dataclass(frozen=True)
class AuditResult:
    """What is known of a run's prevalence."""

    run: RunFile
    counts: Counts
    """Rows of the parts that exist."""
    reviewed: Prevalence | None
    """From labels; None without labels."""
    rates: ErrorRates | None
    check: Estimate | None
    """From the flagged share and the detector's error rates; None where these are not known."""
    by_picture: PicturePrevalence | None = None
    """From the same labels, each picture counted once; None without labels, or where pictures are not known."""

    @property
    def judged(self) -> int:
        """Images with a verdict."""
        return self.counts.rows - self.counts.failed

    @property
    def noun(self) -> str:
        """What the images are that are counted."""
        return "forged" if self.run.known_meaning is Meaning.FORGERIES else "fake"

    @property
    def statement(self) -> str:
        """The result in one sentence."""
        if self.reviewed is not None:
            return _from_labels(self.reviewed)
        if self.check is not None:
            words = f"{between(self.check)} of {self.judged:,} images are {self.noun}, {_UNLIKE}"
            return f"{words}{_zero(self.check.low <= 0)}"
        return (
            f"it is not known how many of {self.judged:,} images are fake: {self.counts.fake:,} are flagged, and "
            "without labels or error rates that says nothing"
        )

    @property
    def is_of_other_rows(self) -> bool:
        """Whether the run has other images with a verdict now than it had when the sample was drawn."""
        return self.reviewed is not None and self.reviewed.sample.plan.rows != self.judged

    @property
    def agrees(self) -> bool | None:
        """Whether the check's interval and that from the labels have something in common; None where one is missing."""
        if self.reviewed is None or self.check is None:
            return None
        return self.check.low <= self.reviewed.share.high and self.reviewed.share.low <= self.check.high


def picture_statement(found: PicturePrevalence) -> str:
    """How many pictures are fake, in one sentence. The range of a few labels is rather too wide than too narrow."""
    pictures = f"{found.pictures:,} pictures"
    if found.share is None:
        return (
            f"by picture: not known; only {found.reviewed:,} of the labelled images are the first of their picture, "
            f"of {pictures}"
        )
    words = f"by picture: {between(found.share)} of {pictures} are fake (95 % or more, {found.reviewed:,} reviewed"
    if found.share.kind is Kind.AT_MOST:
        words += f", {found.fakes or 'none'} of them fake"
    elif found.share.kind is Kind.AT_LEAST:
        words += f", {found.reviewed - found.fakes or 'none'} of them real"
    return f"{words})"


_UNLIKE = "if the detector errs here as it did on the images that its error rates are from (95 %)"


def _from_labels(found: Prevalence) -> str:
    number, fakes = int(found.reviewed.labelled.sum()), int(found.reviewed.fake.sum())
    reviewed = f"95 %, {number:,} reviewed"
    if found.share.kind is Kind.AT_MOST:
        reviewed += f", {fakes or 'none'} of them fake"
    elif found.share.kind is Kind.AT_LEAST:
        reviewed += f", {number - fakes or 'none'} of them real"
    words = f"{between(found.share)} of {found.sample.plan.rows:,} images are fake ({reviewed})"
    return f"{words}{_zero(not found.is_above_zero and found.share.high > 0)}"


def _zero(is_zero: bool) -> str:
    return "; it cannot be told from zero" if is_zero else ""


def audit_result(
    folder: RunFolder,
    labels: Labels | None,
    *,
    design: str = "estimate",
    evaluation: str | None = None,
    sensitivity: str | None = None,
    specificity: str | None = None,
    firsts: FirstImages | None = None,
) -> AuditResult:
    """What can be said. Raises UserError for labels without a sample, and for error rates of another detector.

    `firsts`: with them prevalence is counted by picture as well.
    """
    run = folder.open()
    rates = _rates(folder, run, evaluation, sensitivity, specificity)
    counts = count_run(folder, run)
    judged = counts.rows - counts.failed
    if not judged:
        raise UserError(f"run: {redact(folder.url)} has no image with a verdict yet; scan first")
    check = None if rates is None else rogan_gladen(counts.fake, judged, rates)
    chosen = next((one for one in COVERING if one == design), None)
    if chosen is None:
        raise UserError(f"design: {design!r} is none of {', '.join(COVERING)}; the others tell no prevalence")
    reviewed = by_picture = None
    if labels is not None:
        sample = read_sample(folder, chosen)
        if sample is None:
            raise UserError(
                f"labels: {redact(folder.url)} has no sample for {design}; draw one with `fakescan review sample` "
                "(labels of images that are in it count)"
            )
        if sample.plan.run_id != run.run_id:
            raise UserError(f"labels: review/{design}.parquet is of another run; draw a sample of this one")
        reviewed = prevalence_of(sample, labels)
        if firsts is not None and sample.plan.rows == judged:
            by_picture = picture_prevalence(sample, labels, firsts(judged))
    return AuditResult(run, counts, reviewed, rates, check, by_picture)


def _rates(
    folder: RunFolder, run: RunFile, evaluation: str | None, sensitivity: str | None, specificity: str | None
) -> ErrorRates | None:
    if (sensitivity is None) != (specificity is None):
        raise UserError("sensitivity: it takes both --sensitivity and --specificity")
    if evaluation is not None and sensitivity is not None:
        raise UserError("evaluation: name either --evaluation, or --sensitivity and --specificity")
    if evaluation is not None:
        return rates_of_evaluation(evaluation, folder.store, run)
    if sensitivity is not None and specificity is not None:
        return rates_of_counts(sensitivity, specificity)
    return None
