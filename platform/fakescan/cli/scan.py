"""`fakescan scan`, and what is done with a run: `index` before it, `verify` and `compact` after it."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import Command, SettingsCommand
from fakescan.cli.options.option import option, ray_address
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import Reporter, with_reports
from fakescan.settings.flag import FlagGroup

if TYPE_CHECKING:
    from fakescan.run.bulk.workers import Workers
    from fakescan.run.folder import RunFolder
    from fakescan.run.verify import Verification
    from fakescan.scan.config import ScanConfig

logger = logging.getLogger(__name__)

_SHOWN_PROBLEMS = 20

_CONFIG = option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    group=FlagGroup.SOURCE,
    unset="none",
    help="Settings in YAML, these and more (docs/scan.md); flags take precedence.",
)
_DRY_RUN = option(
    "--dry-run",
    is_flag=True,
    group=FlagGroup.OUTPUT,
    help="Only say what would be scanned, how, and what would be resumed; nothing is started or written.",
)


def scan_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command that scans the flags which are no settings: `--config`, `--ray-address`, `--dry-run`."""
    decorated: Callable[..., Any] = _CONFIG(ray_address()(_DRY_RUN(command)))
    return decorated


@click.command(
    cls=SettingsCommand,
    settings="fakescan.scan.config:ScanConfig",
    examples=[
        ("Scan a folder", "fakescan scan photos -o audit --model lingcco/fakeVLM"),
        ("See what a scan of a bucket would do", "fakescan scan s3://bucket/2026 -o s3://bucket/audit --dry-run"),
        ("Estimate its time from 500 images", "fakescan scan s3://bucket/2026 -o trial --sample 500"),
    ],
)
@click.argument("source", required=False, type=Text(path="file"))
@scan_flags
@with_reports
@click.pass_obj
def scan(
    verbose: bool, /, config: Path | None, ray_address: str | None, dry_run: bool, reporter: Reporter, **flags: Any
) -> None:
    """Scan every image of SOURCE and write verdicts, scores, explanations and errors to --output as Parquet.

    SOURCE is a folder, a URL prefix (s3://, gs://, az://, https:// list), a manifest, an S3 Inventory, Parquet with
    images, or tar shards. The same command again resumes.
    """
    settings = scan_config(config, flags)
    if dry_run:
        dry_run_scan(settings, reporter)
    else:
        report_scan(settings, reporter, ray_address=ray_address, verbose=verbose)


def report_scan(settings: "ScanConfig", reporter: Reporter, *, ray_address: str | None, verbose: bool) -> None:
    """Scan, and say what came of it."""
    from fakescan.cli.reports.json_report import scan_report
    from fakescan.cli.reports.scan import print_summary
    from fakescan.scan.driver import run_scan

    outcome = run_scan(settings, ray_address=ray_address, verbose=verbose, display=not reporter.quiet)
    with reporter.for_people():
        print_summary(outcome, settings)
    report = scan_report(outcome)
    if settings.has_too_many_errors(outcome.whole.failed, outcome.whole.rows):
        above = f"above --max-error-rate {settings.max_error_rate:.2%}"
        report.fail("error_rate", f"{outcome.error_rate:.2%} of the rows are errors, {above}")
    reporter.finish(report)


def dry_run_scan(settings: "ScanConfig", reporter: Reporter) -> None:
    """Say what a scan would do."""
    from fakescan.cli.reports.dry_run import dry_run_report, print_forecast
    from fakescan.scan.dry_run.forecast import forecast

    found = forecast(settings)
    with reporter.for_people():
        print_forecast(found)
    reporter.finish(dry_run_report(found))


def scan_config(file: Path | None, flags: dict[str, Any]) -> "ScanConfig":
    """The scan that a YAML file describes, with the flags that were given in place of its settings."""
    from fakescan.cli.options.flags import settings_of
    from fakescan.scan.config import ScanConfig
    from fakescan.settings.yaml_file import read_yaml

    required = {"source": "SOURCE or in the --config file", "output": "--output or in the --config file"}
    return settings_of(
        ScanConfig, flags, command="scan", file=read_yaml(file) if file is not None else None, required=required
    )


@click.command(cls=Command)
@click.argument("source", type=Text(path="file"))
@option("-o", "--output", required=True, metavar="MANIFEST", help="Folder or URL prefix for the manifest.")
@option(
    "--glob",
    "globs",
    multiple=True,
    metavar="PATTERN",
    unset="all names",
    help="Only objects whose name below the source matches one of these patterns.",
)
@option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    unset="none",
    help="Leave out objects whose name below the source matches one of these patterns.",
)
@option(
    "--extensions",
    metavar="EXT,…",
    unset="images, by their name or content",
    help="Only these file name extensions, such as jpg,png; any: every object.",
)
@option(
    "--column",
    metavar="NAME",
    unset="the likeliest by its name",
    help="Column of a list or Parquet file with the addresses or images.",
)
@option("--size-column", metavar="NAME", unset="none is believed", help="Column with sizes in bytes.")
@option(
    "--keep-columns",
    metavar="NAME,…",
    unset="none",
    help="Columns that a scan of the manifest may take into its results.",
)
@option("--skip-damaged", is_flag=True, help="Go on after damage inside a container, and count it.")
@with_store("input", "the source")
@with_store("output", "the manifest")
@with_reports
def index(
    source: str,
    output: str,
    globs: tuple[str, ...],
    exclude: tuple[str, ...],
    extensions: str | None,
    reporter: Reporter,
    **flags: Any,
) -> None:
    """List SOURCE once and write its manifest, which `scan` takes as a source."""
    from fakescan.cli.options.flags import split_extensions, split_names, store_from_flags
    from fakescan.cli.reports.json_report import index_report
    from fakescan.run.schema import check_kept_names
    from fakescan.sources.index import build_index
    from fakescan.terminal.stage_display import StageDisplay

    keep_columns = split_names(flags["keep_columns"])
    check_kept_names(keep_columns or ())
    with StageDisplay(show=not reporter.quiet) as display:
        info = build_index(
            source,
            output,
            store=store_from_flags("input", flags),
            manifest_store=store_from_flags("output", flags),
            glob=list(globs) or None,
            exclude=list(exclude) or None,
            extensions=split_extensions(extensions),
            column=flags["column"],
            size_column=flags["size_column"],
            skip_damaged=flags["skip_damaged"],
            keep_columns=keep_columns,
            listing=display.listing,
        )
    with reporter.for_people():
        print(f"{info.rows:,} images in {output} ({info.duplicates:,} duplicates left out)")
        for line in info.account():
            print(line)
    if reporter.quiet:
        for line in info.account():  # whatever is left out is said
            logger.warning("%s", line)
    reporter.finish(index_report(info, output))


@click.command(cls=Command)
@click.argument("run", type=Text(path="dir"))
@option(
    "--from-start",
    is_flag=True,
    help="Read every part, also those that an interrupted call of the last 24 hours has proved.",
)
@ray_address()
@with_store("output", "the run")
@with_reports
def verify(run: str, reporter: Reporter, from_start: bool, ray_address: str | None, **flags: Any) -> None:
    """Check that RUN accounts for every row of its manifest exactly once, and that nothing in it was changed.

    Scores and verdicts are computed again from the logits. A call that was interrupted is continued by the same one.
    """
    from fakescan.cli.reports.json_report import verify_report
    from fakescan.run.counts import outcome_words
    from fakescan.terminal.console import printable_line

    folder = _run_folder(run, flags)
    meaning = folder.open().known_meaning
    found = _verified(folder, reporter, from_start=from_start, ray_address=ray_address)
    report = verify_report(folder, found)
    if found.problems:
        to = sys.stderr if reporter.quiet else sys.stdout
        for problem in found.problems[:_SHOWN_PROBLEMS]:
            print(printable_line(problem), file=to)
        if len(found.problems) > _SHOWN_PROBLEMS:
            print(f"… and {len(found.problems) - _SHOWN_PROBLEMS} more", file=to)
        report.fail("problems", f"{run} does not account for every row ({len(found.problems)} problems)")
    else:
        with reporter.for_people():
            counts = found.counts
            words = "   ".join(f"{name} {count:,}" for name, count, _ in outcome_words(counts, meaning))
            print(f"ok: {counts.rows:,} rows, each once   {words}")
            if found.continued and found.since:
                since = f"{found.since:%Y-%m-%d %H:%M} UTC"
                print(f"{found.continued:,} parts were read by an interrupted call since {since}, and not again")
            for code, count in counts.most_common():
                print(f"  {code:<18} {count:>8,}")
    reporter.finish(report)


def _verified(folder: "RunFolder", reporter: Reporter, *, from_start: bool, ray_address: str | None) -> "Verification":
    from fakescan.run.verify import verify as check
    from fakescan.terminal.parts_display import SHOWN_FROM, PartsDisplay

    parts = folder.open().sharding.count
    if parts < SHOWN_FROM and not from_start and ray_address is None:
        return check(folder)
    with PartsDisplay("verifying", parts, show=not reporter.quiet) as display:
        return check(
            folder,
            workers=_workers(ray_address),
            from_start=from_start,
            on_parts=display.add,
            on_known=display.known,
        )


@click.command(cls=Command)
@click.argument("run", type=Text(path="dir"))
@ray_address()
@with_store("output", "the run")
def compact(run: str, ray_address: str | None, **flags: Any) -> None:
    """Merge the parts of a finished RUN into few big files under RUN/compact.

    Files that are there and hold what the parts hold are left as they are: the same call continues an interrupted one.
    """
    from fakescan.run.compact import compact as merge
    from fakescan.terminal.parts_display import PartsDisplay

    folder = _run_folder(run, flags)
    with PartsDisplay("merging", folder.open().sharding.count) as display:
        index = merge(folder, workers=_workers(ray_address), on_parts=display.add)
    rows = sum(file.rows for file in index.files)
    print(f"{rows:,} rows in {len(index.files)} files: {run.rstrip('/')}/compact/*.parquet")


def _workers(ray_address: str | None) -> "Workers":
    """Who works on the parts: the cluster that was named, or else as many processes as it is worth."""
    from fakescan.run.bulk.workers import Workers

    return Workers(ray_address, fewest=None if ray_address is None else 1)


def _run_folder(run: str, flags: dict[str, Any]) -> "RunFolder":
    """The folder of a run that is to be read, after one request that finds wrong credentials and addresses."""
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.run.folder import RunFolder
    from fakescan.storage.preflight import check_readable

    store = store_from_flags("output", flags)
    check_readable(run, store)
    return RunFolder(run, store)
