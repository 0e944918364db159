"""`fakescan review`: draws samples for people to label, and says how far they are."""

from typing import Any

import click

from fakescan.cli.audit.places import labels_of, labels_option, needed_labels, run_folder, workers
from fakescan.cli.options.command import Command, Group
from fakescan.cli.options.option import option, ray_address
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import Reporter, with_reports


@click.group(cls=Group)
def review() -> None:
    """Have people look at some images of a run: draw a sample, and see how far they are and whether they agree."""


@review.command(
    cls=Command,
    examples=[
        ("500 images for a prevalence", "fakescan review sample audit -n 500"),
        ("Go on to 800", "fakescan review sample audit -n 800"),
        ("Choose a threshold", "fakescan review sample audit -n 300 --design threshold"),
        ("A second look at 50 labelled images", "fakescan review sample audit -n 50 --design qa"),
    ],
)
@click.argument("run", type=Text(path="dir"))
@option("-n", "n", type=int, required=True, metavar="N", help="Images of the sample, with those that it holds already.")
@option(
    "--design",
    default="estimate",
    metavar="estimate|threshold|disagree|discover|qa",
    help="What the sample is for (docs/review.md).",
)
@option(
    "--seed", type=int, metavar="N", unset="0, or that of the sample that is there", help="Another seed, other images."
)
@option("--against", metavar="RUN", unset="none", help="The other run of --design disagree, in the same store.")
@option("--dry-run", is_flag=True, help="Only say what would be drawn; nothing is written.")
@labels_option
@ray_address()
@with_store("output", "the run")
@with_reports
def sample(
    run: str,
    n: int,
    design: str,
    seed: int | None,
    against: str | None,
    dry_run: bool,
    labels: tuple[str, ...],
    ray_address: str | None,
    reporter: Reporter,
    **flags: Any,
) -> None:
    """Draw images of RUN for people to label, into RUN/review/DESIGN.parquet.

    The same seed draws the same images; a larger N goes on with the sample that is there.
    """
    from fakescan.cli.reports.review import print_sample, sample_report
    from fakescan.review.plan import DESIGNS
    from fakescan.review.sample import draw_sample
    from fakescan.terminal.parts_display import PartsDisplay
    from fakevlm.errors import UserError

    chosen = next((one for one in DESIGNS if one == design), None)
    if chosen is None:
        raise UserError(f"design: {design!r} is none of {', '.join(DESIGNS)}")
    if (against is not None) != (chosen == "disagree"):
        raise UserError("against: --design disagree takes the other run with --against, and no other design does")
    folder = run_folder(run, flags)
    known = labels_of(folder, labels)
    with PartsDisplay("reading", 2 * folder.open().sharding.count, show=not reporter.quiet) as display:
        if against is not None:
            from fakescan.audit.disagreement import draw_disagreements

            drawn = draw_disagreements(
                folder, run_folder(against, flags), n, seed=seed, on_parts=display.add, write=not dry_run
            )
        else:
            drawn = draw_sample(
                folder, chosen, n, seed=seed, labels=known, workers=workers(ray_address), on_parts=display.add,
                write=not dry_run,
            )  # fmt: skip
    with reporter.for_people():
        print_sample(folder, drawn, known, wanted=n, dry_run=dry_run)
    reporter.finish(sample_report(folder, drawn, known, dry_run=dry_run))


@review.command(cls=Command)
@click.argument("run", type=Text(path="dir"))
@labels_option
@with_store("output", "the run")
@with_reports
def status(run: str, labels: tuple[str, ...], reporter: Reporter, **flags: Any) -> None:
    """Say how far the review of RUN is, and whether its reviewers agree."""
    from fakescan.cli.reports.review import print_status, status_report
    from fakescan.review.agreement import review_status
    from fakescan.review.sample_file import read_samples
    from fakescan.storage.url import redact
    from fakevlm.errors import UserError

    folder = run_folder(run, flags)
    folder.open()
    samples = read_samples(folder)
    if not samples:
        raise UserError(f"run: {redact(folder.url)} has no sample; draw one with `fakescan review sample`")
    found = review_status(samples, needed_labels(folder, labels))
    with reporter.for_people():
        print_status(found)
    reporter.finish(status_report(folder, found))
