"""`fakescan scan`, and what is done with a run: `index` before it, `verify` and `compact` after it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.command import SettingsCommand
from fakescan.cli.exit_status import EXIT_FAILED, fail
from fakescan.cli.store_flags import with_store

if TYPE_CHECKING:
    from fakescan.run.folder import RunFolder
    from fakescan.scan.config import ScanConfig


@click.command(cls=SettingsCommand, settings="fakescan.scan.config:ScanConfig")
@click.argument("source", required=False)
@click.option("--config", type=click.Path(path_type=Path), metavar="YAML", help="Settings; flags take precedence.")
@click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one).")
@click.pass_obj
def scan(verbose: bool, /, config: Path | None, ray_address: str | None, **flags: Any) -> None:
    """Scan every image of SOURCE and write verdicts, scores, explanations and errors to --output as Parquet.

    SOURCE is a folder, a URL prefix (s3://, gs://, az://, https:// list), a manifest, Parquet with images, or tar
    shards. The same command again resumes.
    """
    settings = scan_config(config, flags)
    from fakescan.cli.reports.scan import print_summary
    from fakescan.scan.driver import run_scan

    outcome = run_scan(settings, ray_address=ray_address, verbose=verbose)
    print_summary(outcome, settings)
    if outcome.error_rate > settings.max_error_rate:
        fail(
            f"{outcome.error_rate:.2%} of the rows are errors, above --max-error-rate {settings.max_error_rate:.2%}",
            EXIT_FAILED,
        )


def scan_config(file: Path | None, flags: dict[str, Any]) -> "ScanConfig":
    """The scan that a YAML file describes, with the flags that were given in place of its settings."""
    from fakescan.cli.flags import settings_of
    from fakescan.scan.config import ScanConfig
    from fakescan.settings.yaml_file import read_yaml

    required = {"source": "SOURCE or in the --config file", "output": "--output or in the --config file"}
    return settings_of(
        ScanConfig, flags, command="scan", file=read_yaml(file) if file is not None else None, required=required
    )


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="MANIFEST", help="Folder for the manifest.")
@click.option("--glob", "globs", multiple=True, metavar="PATTERN", help="Only names like this. Repeatable.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out names like this. Repeatable.")
@click.option("--extensions", metavar="jpg,png", help="Only these file name extensions; any: every object.")
@click.option("--column", metavar="NAME", help="Column of a list or Parquet file with the addresses or images.")
@click.option("--size-column", metavar="NAME", help="Column with sizes in bytes (default: none is believed).")
@click.option("--keep-columns", metavar="a,b", help="Columns that a scan may take into its results, to join them by.")
@click.option("--skip-damaged", is_flag=True, help="Go on after damage inside a container, and count it.")
@with_store("input", "the source")
@with_store("output", "the manifest")
def index(
    source: str, output: str, globs: tuple[str, ...], exclude: tuple[str, ...], extensions: str | None, **flags: Any
) -> None:
    """List SOURCE once and write its manifest, which `scan` takes as a source."""
    from fakescan.cli.flags import split_extensions, split_names, store_from_flags
    from fakescan.run.schema import check_kept_names
    from fakescan.sources.index import build_index
    from fakescan.terminal.stage_display import StageDisplay

    keep_columns = split_names(flags["keep_columns"])
    check_kept_names(keep_columns or ())
    with StageDisplay() as display:
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
    print(f"{info.rows:,} images in {output} ({info.duplicates:,} duplicates left out)")
    for line in info.account():
        print(line)


@click.command()
@click.argument("run")
@with_store("output", "the run")
def verify(run: str, **flags: Any) -> None:
    """Check that RUN accounts for every row of its manifest exactly once."""
    from fakescan.run.verify import verify as check

    found = check(_run_folder(run, flags))
    for problem in found.problems[:20]:
        print(problem)
    if len(found.problems) > 20:
        print(f"… and {len(found.problems) - 20} more")
    if found.problems:
        fail(f"{run} does not account for every row ({len(found.problems)} problems)", EXIT_FAILED)
    counts = found.counts
    print(f"ok: {counts.rows:,} rows, each once   {counts}")
    for code, count in counts.most_common():
        print(f"  {code:<18} {count:>8,}")


@click.command()
@click.argument("run")
@with_store("output", "the run")
def compact(run: str, **flags: Any) -> None:
    """Merge the parts of a finished RUN into few big files under RUN/compact."""
    from fakescan.run.compact import compact as merge

    index = merge(_run_folder(run, flags))
    rows = sum(file.rows for file in index.files)
    print(f"{rows:,} rows in {len(index.files)} files: {run.rstrip('/')}/compact/*.parquet")


def _run_folder(run: str, flags: dict[str, Any]) -> "RunFolder":
    """The folder of a run that is to be read, after one request that finds wrong credentials and addresses."""
    from fakescan.cli.flags import store_from_flags
    from fakescan.run.folder import RunFolder
    from fakescan.storage.preflight import check_readable

    store = store_from_flags("output", flags)
    check_readable(run, store)
    return RunFolder(run, store)
