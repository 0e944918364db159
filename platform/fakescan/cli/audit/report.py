"""`fakescan report`: what people read after a scan."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from fakescan.cli.audit.places import labels_of, labels_option, run_folder
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option, ray_address
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import JsonReport, Reporter, with_reports

_MAX_THUMBS = 1_000_000


@dataclass(kw_only=True)
class ReportReport(JsonReport):
    """What `report --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    report: str
    """The report's folder or URL prefix."""
    page: str
    """The overview, one file."""
    statement: str
    """What is known of the share of fakes, in a sentence."""
    rows: int
    """Rows in the report."""
    real: int
    """Rows by verdict."""
    fake: int
    uncertain: int
    errors: int
    """Rows without a verdict."""
    folders: int
    """Folders that are listed."""
    pictures: int | None
    """Pictures that the images with a verdict are, near-duplicates being one; null where nobody knows."""
    fake_pictures: int | None
    """Pictures that have an image with the verdict fake."""
    thumbs: int
    """Thumbnails, with those that could not be made."""
    thumbs_missing: int
    """Thumbnails that could not be made."""


@click.command(
    cls=Command,
    examples=[
        ("Next to the run", "fakescan report s3://bucket/audit"),
        ("On this machine", "fakescan report s3://bucket/audit -o audit-report"),
        ("With labels that people gave", "fakescan report audit --labels labels.jsonl"),
    ],
)
@click.argument("run", type=Text(path="dir"))
@option("-o", "--output", metavar="URL", unset="RUN/report", help="Folder or URL prefix of the report.")
@labels_option
@option(
    "--evaluation",
    metavar="URL",
    unset="none",
    help="Evaluation of the same detector, whose error rates tell a range without labels.",
)
@option(
    "--thumbs",
    type=click.IntRange(min=0, max=_MAX_THUMBS),
    default=2000,
    metavar="N",
    help="Thumbnails at most; each reads an image. 0: none.",
)
@ray_address()
@with_store("input", "the images")
@with_store("output", "the run and the report")
@with_reports
def report(
    run: str,
    output: str | None,
    labels: tuple[str, ...],
    evaluation: str | None,
    thumbs: int,
    ray_address: str | None,
    reporter: Reporter,
    **flags: Any,
) -> None:
    """Write a report of RUN: an overview in one file, and a page that shows every image.

    RUN may be unfinished. The same command again continues what was interrupted, and after more labels or parts it
    makes the report anew.
    """
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.report.audit_facts import AuditFacts
    from fakescan.report.build import ReportSettings, build_report
    from fakescan.report.overview.page_files import REPORT
    from fakescan.run.bulk.workers import Workers
    from fakescan.run.folder import RunFolder
    from fakescan.sources.listing import local_uri
    from fakescan.storage.preflight import check_writable
    from fakescan.storage.url import file_path, redact, scheme_of

    folder = run_folder(run, flags)
    folder.open()
    images = store_from_flags("input", flags)
    place = output or f"{folder.url}/report"
    if scheme_of(place) == "file":
        place = local_uri(file_path(place))
    _refuse_the_run(folder.url, place)
    known = labels_of(folder, labels)
    check_writable(place, folder.store)
    target = RunFolder(place, folder.store)
    settings = ReportSettings(images, thumbs, Workers(ray_address), _silent if reporter.quiet else _progress)
    made = build_report(folder, target, settings, AuditFacts(folder, known, evaluation))
    page = f"{redact(target.url)}/{REPORT}"
    totals, names = made.totals, made.run.names
    with reporter.for_people():
        for words in made.run.cautions:
            print(f"warning: {words}")
        print(made.prevalence.statement)
        print(
            f"{totals.rows:,} rows: {names['real']} {totals.real:,}, {names['fake']} {totals.fake:,}, "
            f"{names['uncertain']} {totals.uncertain:,}, errors {totals.errors:,}"
        )
        if made.pictures is not None:
            flagged = (
                f"{totals.fake:,} images called {names['fake']} are {made.pictures.pictures['fake']:,} pictures; "
                if totals.fake
                else ""
            )
            print(f"{flagged}{totals.judged:,} with a verdict are {made.pictures.total:,} pictures")
        if made.prevalence.by_picture is not None:
            print(made.prevalence.by_picture.statement)
        if made.thumbs.missing:
            print(f"{made.thumbs.missing:,} of {made.thumbs.count:,} thumbnails could not be made; the report says why")
        print(f"report: {page}")
        command = ["fakescan", "view", redact(folder.url)] + ([] if output is None else ["--report", redact(place)])
        print(f"all images: {shlex.join(command)}")
    reporter.finish(
        ReportReport(
            run=redact(folder.url),
            run_id=made.run.run_id,
            report=redact(target.url),
            page=page,
            statement=made.prevalence.statement,
            rows=totals.rows,
            real=totals.real,
            fake=totals.fake,
            uncertain=totals.uncertain,
            errors=totals.errors,
            folders=made.folders.count,
            pictures=None if made.pictures is None else made.pictures.total,
            fake_pictures=None if made.pictures is None else made.pictures.pictures.get("fake", 0),
            thumbs=made.thumbs.count,
            thumbs_missing=made.thumbs.missing,
        )
    )


def _refuse_the_run(run: str, place: str) -> None:
    from fakescan.storage.url import canonical, redact
    from fakevlm.errors import UserError

    within = canonical(place).rstrip("/").removeprefix(canonical(run).rstrip("/"))
    if within.partition("/")[2].partition("/")[0] in ("parts", "manifest", "compact", "cache", "labels", "review") and (
        within.startswith("/")
    ):
        raise UserError(f"output: {redact(place)} is a folder of the run itself; name another one with -o")
    if not within:
        raise UserError("output: name another folder than the run itself, such as its folder report")


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from fakescan.terminal.counting import Counting

    if not total:
        yield lambda count: None
        return
    with Counting(what, total) as counting:

        def done(count: int) -> None:
            for _ in range(count):
                counting.one_more()

        yield done


@contextmanager
def _silent(what: str, total: int) -> Iterator[Callable[[int], None]]:
    yield lambda count: None
