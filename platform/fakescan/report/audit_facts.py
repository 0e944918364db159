"""What people have found out about a run, for its report: prevalence, labels, samples to review."""

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fakescan.report.report_file import (
    Estimated,
    LabelFile,
    PicturePrevalenceFacts,
    PrevalenceBand,
    PrevalenceFacts,
    RowFacts,
    SampleFile,
)
from fakescan.review.audit_result import AuditResult, FirstImages, audit_result, picture_statement
from fakescan.review.labels import Labels
from fakescan.review.pictures.picture_prevalence import PicturePrevalence
from fakescan.review.plan import COVERING
from fakescan.review.prevalence import Band, between
from fakescan.review.sample_file import Sample, read_sample, read_samples
from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.metrics.prevalence import Estimate

LABELS = "labels.json"
PositionsOf = Callable[[Iterable[int]], Mapping[int, int]]
"""Finds the positions of rows by their ids."""


@dataclass(frozen=True)
class Told:
    """What is said of it in a report."""

    prevalence: PrevalenceFacts
    samples: list[SampleFile] = field(default_factory=list)
    labels: LabelFile | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    """Files of the report by their names."""


@dataclass(frozen=True)
class AuditFacts:
    """Finds out what is known of a run."""

    folder: RunFolder
    labels: Labels | None = None
    """Those that people gave; None for none."""
    evaluation: str | None = None
    """An evaluation of the same detector, whose error rates tell a range."""

    def told(self, rows: RowFacts, positions_of: PositionsOf, firsts: FirstImages) -> Told:
        """What is known. Raises UserError for error rates of another detector."""
        files: dict[str, bytes] = {}
        samples = read_samples(self.folder)
        listed = []
        places = positions_of({row for sample in samples for row in sample.rows["row_id"].to_pylist()})
        for sample in samples:
            name = f"review/{sample.plan.design}.json"
            files[name] = sample_json(sample, places)
            listed.append(SampleFile(design=sample.plan.design, name=name, drawn=sample.rows.num_rows))
        labels = None
        if self.labels is not None:
            files[LABELS] = _labels_json(self.labels)
            labels = LabelFile(name=LABELS, count=len(self.labels.of_image), reviewers=len(self.labels.reviewers))
        return Told(self._prevalence(rows, firsts if rows.pictures else None), listed, labels, files)

    def _prevalence(self, rows: RowFacts, firsts: FirstImages | None) -> PrevalenceFacts:
        if not rows.totals.judged:
            return PrevalenceFacts(statement="No image has a verdict.", basis="none")
        notes: list[str] = []
        found = self._result(notes, firsts) if self.labels is not None or self.evaluation is not None else None
        if self.labels is None:
            run = shlex.quote(redact(self.folder.url))
            notes.append(f"To know it, label some: fakescan review sample {run} -n 500, then fakescan view {run}.")
        if found is None:
            totals = rows.totals
            counts = Counts(totals.rows, totals.real, totals.fake, totals.uncertain, {"errors": totals.errors})
            found = AuditResult(self.folder.open(), counts, None, None, None)
        return _facts(found, notes)

    def _result(self, notes: list[str], firsts: FirstImages | None) -> AuditResult | None:
        """What labels and error rates tell; None, and why in `notes`, for labels that are too few or of no sample, and
        for a run with a damaged part."""
        drawn = [design for design in COVERING if read_sample(self.folder, design) is not None]
        design = drawn[0] if drawn else COVERING[0]
        for labels in (self.labels, None) if self.evaluation is not None else (self.labels,):
            try:
                return audit_result(self.folder, labels, design=design, evaluation=self.evaluation, firsts=firsts)
            except UserError as error:
                if not str(error).startswith(("labels:", "run:")):
                    raise
                notes.append(f"No number yet: {error}.")
        return None


def sample_json(sample: Sample, positions: Mapping[int, int]) -> bytes:
    """A sample for the page, in the order in which it is to be reviewed; without verdicts, which would be an anchor."""
    columns = (sample.rows[name].to_pylist() for name in ("row_id", "sha256"))
    items = [
        {"row_id": row_id, "position": positions[row_id], "sha256": sha256}
        for row_id, sha256 in zip(*columns, strict=True)
        if row_id in positions
    ]
    return json.dumps({"design": sample.plan.design, "items": items}).encode()


def _labels_json(labels: Labels) -> bytes:
    return json.dumps(
        {
            key: {"label": image.label, "reviewers": len(image.by_reviewer), "disputed": image.is_disputed}
            for key, image in labels.of_image.items()
        }
    ).encode()


def _facts(found: AuditResult, notes: list[str]) -> PrevalenceFacts:
    reviewed, statement = found.reviewed, f"{found.statement[0].upper()}{found.statement[1:]}."
    if reviewed is None:
        return PrevalenceFacts(
            statement=statement,
            basis="none" if found.check is None else "error_rates",
            share=None if found.check is None else _estimated(found.check),
            above_zero=None if found.check is None else found.check.low > 0,
            notes=notes,
        )
    if found.check is not None:
        notes.append(
            f"Check by the flagged share and the detector's error rates: {between(found.check)}, which "
            f"{'agrees' if found.agrees else 'does NOT agree: labels are wrong, or the rates are of other images'}."
        )
    if unsure := int(reviewed.reviewed.unsure.sum()):
        notes.append(
            f"{unsure:,} unsure, left out: as real they make it {between(reviewed.if_unsure_real)}, as fake "
            f"{between(reviewed.if_unsure_fake)}."
        )
    if found.is_of_other_rows:
        notes.append("The run has other images with a verdict now than when the sample was drawn: draw it again.")
    if not reviewed.reviewed.in_order:
        notes.append("The labels are not of the first images of the sample: were they chosen, no interval holds.")
    counts = {
        "could not be judged and are in no number": reviewed.sample.plan.errors,
        "were called real by one reviewer and fake by another": reviewed.reviewed.disputed,
        "were labelled by somebody who had seen the score": reviewed.reviewed.seen_score,
    }
    notes += [f"{count:,} images {words}." for words, count in counts.items() if count]
    return PrevalenceFacts(
        statement=statement,
        basis="labels",
        share=_estimated(reviewed.share),
        above_zero=reviewed.is_above_zero,
        reviewed=int(reviewed.reviewed.labelled.sum()),
        bands=[_band(band) for band in (*reviewed.verdicts, *reviewed.bands)],
        notes=notes,
        by_picture=None if found.by_picture is None else _by_picture(found.by_picture),
    )


def _by_picture(found: PicturePrevalence) -> PicturePrevalenceFacts:
    statement = picture_statement(found)
    return PicturePrevalenceFacts(
        statement=f"{statement[0].upper()}{statement[1:]}.",
        pictures=found.pictures,
        drawn=found.drawn,
        reviewed=found.reviewed,
        fakes=found.fakes,
        share=None if found.share is None else _estimated(found.share),
    )


def _band(band: Band) -> PrevalenceBand:
    return PrevalenceBand(
        name=band.name,
        rows=band.rows,
        drawn=band.drawn,
        reviewed=band.reviewed,
        fakes=band.fakes,
        share=_estimated(band.share),
    )


def _estimated(found: Estimate) -> Estimated:
    return Estimated(value=None if math.isnan(found.value) else found.value, low=found.low, high=found.high)
