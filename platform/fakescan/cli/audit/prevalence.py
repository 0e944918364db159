"""`fakescan prevalence`: how many images of a run are fake, and how sure that is."""

from typing import Any

import click

from fakescan.cli.audit.places import labels_of, labels_option, run_folder
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import Reporter, with_reports


@click.command(
    cls=Command,
    examples=[
        ("From a reviewed sample", "fakescan prevalence audit --labels labels.jsonl"),
        ("Each picture counted once, too", "fakescan prevalence audit --pictures pictures.parquet"),
        ("With the detector's error rates as a check", "fakescan prevalence audit --evaluation eval"),
        (
            "Without labels, as far as that goes",
            "fakescan prevalence audit --sensitivity 80/100 --specificity 990/1000",
        ),
    ],
)
@click.argument("run", type=Text(path="dir"))
@labels_option
@option("--design", default="estimate", metavar="estimate|threshold", help="The sample that the labels are of.")
@option(
    "--evaluation",
    metavar="URL",
    unset="none",
    help="Evaluation of the same detector, whose error rates serve as a check.",
)
@option("--sensitivity", metavar="FOUND/FAKES", unset="none", help="Fakes found of labelled fakes, for the same check.")
@option("--specificity", metavar="PASSED/REALS", unset="none", help="Real images not flagged, of labelled ones.")
@option(
    "--pictures",
    metavar="FILE",
    unset="none",
    help="What `fakescan duplicates -o` wrote: prevalence by picture as well, in which near-duplicates count once.",
)
@with_store("output", "the run")
@with_reports
def prevalence(
    run: str,
    labels: tuple[str, ...],
    design: str,
    evaluation: str | None,
    sensitivity: str | None,
    specificity: str | None,
    pictures: str | None,
    reporter: Reporter,
    **flags: Any,
) -> None:
    """Say how many images of RUN are fake, with the range that the truth lies in with 95 % confidence.

    It takes a sample (`fakescan review sample`) and labels of its images. Without labels the error rates of the
    detector give a range, if they are known; the flagged share alone says nothing.
    """
    from fakescan.cli.reports.prevalence import prevalence_report, print_prevalence
    from fakescan.review.audit_result import audit_result
    from fakescan.review.pictures.picture_file import first_images

    folder = run_folder(run, flags)
    info = folder.open()
    found = audit_result(
        folder,
        labels_of(folder, labels),
        design=design,
        evaluation=evaluation,
        sensitivity=sensitivity,
        specificity=specificity,
        firsts=None if pictures is None else lambda judged: first_images(pictures, folder.store, info, judged=judged),
    )
    with reporter.for_people():
        print_prevalence(found)
    reporter.finish(prevalence_report(folder, found))
