"""What `fakescan review` says, for people and as JSON."""

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fakescan.cli.reports.reporter import JsonReport
from fakescan.storage.url import redact

if TYPE_CHECKING:
    from fakescan.review.agreement import ReviewStatus
    from fakescan.review.labels import Labels
    from fakescan.review.sample import Drawn
    from fakescan.run.folder import RunFolder

_PURPOSES = {
    "estimate": "for a prevalence: fewer images where the score leaves little doubt, some everywhere",
    "threshold": "for a threshold or a calibration: most images near the border between fake and not fake",
    "disagree": "of images on which two runs disagree; tells which is right, and no prevalence",
    "discover": "of the highest scores of many folders; shows what there is, and no prevalence",
    "qa": "of labelled images, for a second look by their reviewer or another; tells how well reviewers agree",
}


@dataclass(kw_only=True)
class SampleReport(JsonReport):
    """What `review sample --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    sample: str
    """The sample's file."""
    dry_run: bool
    """Whether nothing was written."""
    design: str
    """As it was asked for."""
    seed: int
    """What it was drawn with."""
    images: int
    """Images of the sample."""
    added: int
    """Of them, those that it did not hold before."""
    removed: int
    """Images that it held before and, as the run is now, does not any more."""
    labelled: int
    """Images of the sample that have a label."""
    population: int
    """Images that could be drawn."""
    errors: int
    """Images without a verdict, which were not."""
    missing: int
    """Images that were not scanned yet."""
    strata: list[dict[str, Any]] = field(default_factory=list)
    """Each with its rows and how many of them were drawn."""


def sample_report(folder: "RunFolder", drawn: "Drawn", labels: "Labels | None", *, dry_run: bool) -> SampleReport:
    """The object for a sample."""
    plan = drawn.sample.plan
    return SampleReport(
        run=redact(folder.url),
        run_id=plan.run_id,
        sample=_file(folder, drawn),
        dry_run=dry_run,
        design=plan.design,
        seed=plan.seed,
        images=drawn.sample.rows.num_rows,
        added=drawn.added,
        removed=drawn.removed,
        labelled=_labelled(drawn, labels),
        population=plan.rows,
        errors=plan.errors,
        missing=plan.missing,
        strata=[stratum.model_dump() for stratum in plan.strata],
    )


def print_sample(folder: "RunFolder", drawn: "Drawn", labels: "Labels | None", *, wanted: int, dry_run: bool) -> None:
    """Print what was drawn and why."""
    from fakescan.terminal.tables import number_table, wide_console
    from fakevlm.reading import outcome_name

    meaning = folder.open().known_meaning
    plan, rows = drawn.sample.plan, drawn.sample.rows.num_rows
    verb = "would be drawn" if dry_run else "drawn"
    news = f", {drawn.added:,} of them new" if drawn.continued else ""
    print(f"{rows:,} of {plan.rows:,} images {verb}{news}: {_PURPOSES[plan.design]}")
    if rows < wanted:
        print(f"{wanted:,} were asked for, and there are no more")
    if plan.strata and plan.design != "qa":
        console = wide_console()
        table = number_table(console, f"by verdict and score, seed {plan.seed}", "", "images", "drawn", "one in")
        for stratum in plan.strata:
            chance = f"{1 / stratum.probability:,.1f}" if stratum.drawn else ""
            table.add_row(
                outcome_name(stratum.name, meaning),
                f"{stratum.rows:,}",
                f"{stratum.drawn:,}",
                chance,
            )
        console.print(table)
    notes = {
        "of them have a label already": _labelled(drawn, labels),
        "images of the sample as it was are not in it any more, because the run has changed": drawn.removed,
        "images could not be judged, and were not drawn": plan.errors,
        "images are not scanned yet: go on with the scan and draw again": plan.missing,
    }
    for words, count in notes.items():
        if count:
            print(f"{count:,} {words}")
    if not dry_run:
        print(f"sample: {_file(folder, drawn)}")


def _labelled(drawn: "Drawn", labels: "Labels | None") -> int:
    known = {} if labels is None else labels.of_image
    return sum(sha256 in known for sha256 in drawn.sample.rows["sha256"].to_pylist())


def _file(folder: "RunFolder", drawn: "Drawn") -> str:
    return f"{redact(folder.url)}/review/{drawn.sample.plan.design}.parquet"


@dataclass(kw_only=True)
class StatusReport(JsonReport):
    """What `review status --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    samples: list[dict[str, Any]]
    """Each with its strata: rows, drawn, and labels by word."""
    images: int
    """Images with a label."""
    outside: int
    """Of them, those in no sample of the run."""
    disputed: int
    """Images that one reviewer calls real and another one fake."""
    replaced: int
    """Labels that the same reviewer has replaced later."""
    reviewers: list[dict[str, Any]]
    """Each with labels by word and median seconds."""
    pairs: list[dict[str, Any]]
    """Each pair of reviewers with common images: images, agreed, kappa (Cohen's; null where it is not defined)."""
    selves: list[dict[str, Any]]
    """Each reviewer who has looked at images again: images, agreed, and kappa between both looks."""
    alpha: float | None
    """Krippendorff's over all reviewers; null for fewer than three, and where it is not defined."""


def status_report(folder: "RunFolder", found: "ReviewStatus") -> StatusReport:
    """The object for a review's status."""
    values = asdict(found)
    for pair in (*values["pairs"], *values["selves"]):
        pair["kappa"] = _defined(pair["kappa"])
    return StatusReport(run=redact(folder.url), **{**values, "alpha": _defined(found.alpha)})


def print_status(found: "ReviewStatus") -> None:
    """Print progress and agreement."""
    from rich.text import Text

    from fakescan.terminal.console import printable_line
    from fakescan.terminal.tables import number_table, wide_console

    console = wide_console()
    for sample in found.samples:
        done = "looked at twice" if sample.design == "qa" else "labelled"
        title = f"{sample.design}: {sample.labelled:,} of {sample.drawn:,} images {done}"
        if not sample.strata:
            print(title)
            continue
        table = number_table(console, title, "", "drawn", "real", "fake", "unsure", "left")
        for stratum in sample.strata:
            left = stratum.drawn - stratum.real - stratum.fake - stratum.unsure
            numbers = (stratum.drawn, stratum.real, stratum.fake, stratum.unsure, left)
            table.add_row(stratum.name, *(f"{number:,}" for number in numbers))
        console.print(table)
    table = number_table(console, "reviewers", "", "labels", "real", "fake", "unsure", "seconds each")
    for one in found.reviewers:
        seconds = "" if one.median_seconds is None else f"{one.median_seconds:.1f}"
        table.add_row(
            Text(printable_line(one.name)),
            *(f"{number:,}" for number in (one.labels, one.real, one.fake, one.unsure)),
            seconds,
        )
    console.print(table)
    for pair in found.pairs:
        names = f"{printable_line(pair.first)} and {printable_line(pair.second)} agree"
        print(f"{names} on {pair.agreed:,} of {pair.images:,} images, {_kappa(pair.kappa)}")
    for own in found.selves:
        name = printable_line(own.reviewer)
        words = f"{name} agrees with {name}'s own first look"
        print(f"{words} on {own.agreed:,} of {own.images:,} images, {_kappa(own.kappa)}")
    if found.alpha is not None and not math.isnan(found.alpha):
        print(f"all {len(found.reviewers)} reviewers: Krippendorff's alpha {found.alpha:.2f}")
    for words, count in {
        "images are disputed: one reviewer says real, another one fake": found.disputed,
        "labels were replaced by their reviewer later": found.replaced,
        "images with a label are in no sample of this run": found.outside,
    }.items():
        if count:
            print(f"{count:,} {words}")


def _kappa(value: float) -> str:
    return "kappa not defined (one label only)" if math.isnan(value) else f"kappa {value:.2f}"


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
