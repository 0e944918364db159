"""What `fakescan prevalence` says, for people and as JSON."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fakescan.cli.reports.reporter import JsonReport
from fakescan.storage.url import redact

if TYPE_CHECKING:
    from fakescan.review.audit_result import AuditResult
    from fakescan.review.pictures.picture_prevalence import PicturePrevalence
    from fakescan.review.prevalence import Band, Prevalence
    from fakescan.run.folder import RunFolder
    from fakevlm.metrics.prevalence import Estimate
    from fakevlm.reading import Meaning


@dataclass(kw_only=True)
class PrevalenceReport(JsonReport):
    """What `prevalence --json` prints.

    Estimates are objects with `value`, `low` and `high`, shares from 0 to 1, and `kind`: interval, at_most, at_least.
    """

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    model: str
    """Name of the model."""
    meaning: str | None
    """What its verdicts are worth: full, forgeries, none; null for a run from before it was written down."""
    statement: str
    """The result in a sentence."""
    images: int
    """Images with a verdict, which all numbers are of."""
    errors: int
    """Images without one."""
    missing: int
    """Images that were not scanned yet."""
    flagged: int
    """Images with the verdict fake."""
    prevalence: dict[str, float | str | None] | None
    """Share of fakes, from the labels; null without labels."""
    above_zero: bool | None
    """Whether it can be told from zero; null where nothing is known."""
    design: str | None
    """Of the sample."""
    drawn: int
    """Images of the sample."""
    reviewed: int
    """Of them, called real or fake."""
    unsure: int
    """Of them, with a label that is neither."""
    disputed: int
    """Images that one reviewer calls real and another one fake."""
    seen_score: int
    """Images whose reviewer had seen the score."""
    in_order: bool
    """Whether the labelled images are the first ones of the sample; else the range holds when all have a label."""
    outside: int
    """Images with a label that are not in the sample, and not counted."""
    if_unsure_real: dict[str, float | str | None] | None
    """The prevalence with all unsure images counted as real."""
    if_unsure_fake: dict[str, float | str | None] | None
    """The same with all of them counted as fake."""
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    """By verdict: name, rows, drawn, reviewed, fakes, and their share with its interval."""
    bands: list[dict[str, Any]] = field(default_factory=list)
    """The same by band of the score."""
    by_picture: dict[str, Any] | None = None
    """The same for pictures, of which near-duplicates are one: statement, pictures, drawn, reviewed, fakes, share; null
    without --pictures or labels."""
    check: dict[str, float | str | None] | None = None
    """Share of fakes by Rogan and Gladen, from the flagged share and the error rates; null where these are unknown."""
    check_agrees: bool | None = None
    """Whether both intervals have something in common."""
    error_rates: dict[str, int] | None = None
    """Counts that the check is made of: fakes, found, reals, false_alarms."""


def prevalence_report(folder: "RunFolder", found: "AuditResult") -> PrevalenceReport:
    """The object for a prevalence."""
    told, run = found.reviewed, found.run
    above = None
    if told is not None:
        above = told.is_above_zero
    elif found.check is not None:
        above = found.check.low > 0
    return PrevalenceReport(
        run=redact(folder.url),
        run_id=run.run_id,
        model=run.model,
        meaning=run.known_meaning,
        statement=found.statement,
        images=found.judged if told is None else told.sample.plan.rows,
        errors=found.counts.failed if told is None else told.sample.plan.errors,
        missing=run.rows - found.counts.rows if told is None else told.sample.plan.missing,
        flagged=found.counts.fake,
        prevalence=None if told is None else estimate(told.share),
        above_zero=above,
        design=None if told is None else told.sample.plan.design,
        drawn=0 if told is None else told.sample.plan.drawn,
        reviewed=0 if told is None else int(told.reviewed.labelled.sum()),
        unsure=0 if told is None else int(told.reviewed.unsure.sum()),
        disputed=0 if told is None else told.reviewed.disputed,
        seen_score=0 if told is None else told.reviewed.seen_score,
        in_order=told is None or told.reviewed.in_order,
        outside=0 if told is None else told.reviewed.outside,
        if_unsure_real=None if told is None else estimate(told.if_unsure_real),
        if_unsure_fake=None if told is None else estimate(told.if_unsure_fake),
        verdicts=[] if told is None else [_band(band) for band in told.verdicts],
        bands=[] if told is None else [_band(band) for band in told.bands],
        by_picture=None if found.by_picture is None else _by_picture(found.by_picture),
        check=None if found.check is None else estimate(found.check),
        check_agrees=found.agrees,
        error_rates=None if found.rates is None else found.rates._asdict(),
    )


def estimate(found: "Estimate") -> dict[str, float | str | None]:
    """An estimate for JSON, which has no NaN."""
    value = None if math.isnan(found.value) else found.value
    return {"value": value, "low": found.low, "high": found.high, "kind": found.kind.value}


def _by_picture(found: "PicturePrevalence") -> dict[str, Any]:
    from fakescan.review.audit_result import picture_statement

    share = None if found.share is None else estimate(found.share)
    return {"statement": picture_statement(found), **vars(found), "share": share}


def _band(band: "Band") -> dict[str, Any]:
    numbers = {"rows": band.rows, "drawn": band.drawn, "reviewed": band.reviewed, "fakes": band.fakes}
    return {"name": band.name, **numbers, "share": estimate(band.share)}


def print_prevalence(found: "AuditResult") -> None:
    """Print what is known, the sentence first."""
    from fakescan.review.audit_result import picture_statement
    from fakescan.review.prevalence import between
    from fakevlm.reading import MEANS_NOTHING, Meaning

    print(found.statement)
    if found.by_picture is not None:
        print(picture_statement(found.by_picture))
    if found.reviewed is not None:
        _print_reviewed(found.reviewed, found.run.known_meaning)
    if found.is_of_other_rows:
        print(
            f"the run has changed since the sample was drawn: {found.judged:,} images have a verdict now; draw again "
            "with `fakescan review sample` (labels stay)"
        )
    if found.check is not None and found.reviewed is not None:
        words = "which agrees" if found.agrees else (
            "which does NOT agree: the images that the error rates are from are unlike these, or labels are wrong"
        )  # fmt: skip
        print(
            f"check: by {found.counts.fake:,} flagged images and the detector's error rates {between(found.check)}, "
            f"{words}"
        )
    if found.run.known_meaning is Meaning.NONE:
        print(f"note: {MEANS_NOTHING} The labels count all the same.")
    if found.reviewed is None and found.check is None:
        print("label some: fakescan review sample RUN -n 500, and then fakescan prevalence RUN --labels FILE")


def _print_reviewed(found: "Prevalence", meaning: "Meaning | None") -> None:
    from fakescan.review.prevalence import between
    from fakescan.terminal.tables import number_table, wide_console
    from fakevlm.metrics.prevalence import Kind
    from fakevlm.reading import outcome_name

    plan, reviewed = found.sample.plan, found.reviewed
    if not math.isnan(found.share.value) and found.share.kind is Kind.INTERVAL:
        print(f"best estimate {found.share.value:.2%}, {found.share.value * plan.rows:,.0f} images")
    console = wide_console()
    for title, bands in (("by verdict", found.verdicts), ("by verdict and score", found.bands)):
        table = number_table(console, title, "", "images", "reviewed", "fake", "share of fakes, 95 %")
        for band in bands:
            table.add_row(
                outcome_name(band.name, meaning),
                f"{band.rows:,}",
                f"{band.reviewed:,}",
                f"{band.fakes:,}",
                between(band.share),
            )
        console.print(table)
    if unsure := int(reviewed.unsure.sum()):
        print(
            f"{unsure:,} unsure: left out; as real they make it {between(found.if_unsure_real)}, "
            f"as fake {between(found.if_unsure_fake)}"
        )
    left = plan.drawn - int(reviewed.labelled.sum() + reviewed.unsure.sum())
    if left and not reviewed.in_order:
        print(
            "the labelled images are not the first ones of the sample: where they come from another sample or run, "
            "or somebody chose them, the range holds only when all have a label"
        )
    notes = {
        "images of the sample have no label yet": left,
        "images are disputed between reviewers": reviewed.disputed,
        "images were labelled by somebody who had seen the score": reviewed.seen_score,
        "labels are of images outside the sample and are not counted": reviewed.outside,
        "images could not be judged, and are in no number": plan.errors,
        "images were not scanned yet when the sample was drawn": plan.missing,
    }
    for words, count in notes.items():
        if count:
            print(f"{count:,} {words}")
