"""`fakescan scan`, and what is done with a run: `index` before it, `verify` and `compact` after it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.exit_status import EXIT_FAILED, fail
from fakescan.cli.options.command import SettingsCommand
from fakescan.cli.options.store_flags import with_store

if TYPE_CHECKING:
    from fakescan.run.folder import RunFolder
    from fakescan.scan.config import ScanConfig
    from fakescan.scan.driver import ScanOutcome


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
    from fakescan.scan.driver import run_scan

    outcome = run_scan(settings, ray_address=ray_address, verbose=verbose)
    _report(outcome)
    if outcome.error_rate > settings.max_error_rate:
        fail(
            f"{outcome.error_rate:.2%} of the rows are errors, above --max-error-rate {settings.max_error_rate:.2%}",
            EXIT_FAILED,
        )


def scan_config(file: Path | None, flags: dict[str, Any]) -> "ScanConfig":
    """The scan that a YAML file describes, with the flags that were given in place of its settings."""
    from fakescan.cli.options.flags import settings_of
    from fakescan.scan.config import ScanConfig
    from fakescan.settings.yaml_file import read_yaml

    required = {"source": "SOURCE or in the --config file", "output": "--output or in the --config file"}
    return settings_of(
        ScanConfig, flags, command="scan", file=read_yaml(file) if file is not None else None, required=required
    )


def _report(outcome: "ScanOutcome") -> None:
    from fakescan.terminal.duration import duration

    whole = outcome.whole
    print(f"results: {outcome.url}/parts/*.parquet   (run {outcome.run.run_id}, model {outcome.run.model})")
    print(f"rows: {whole.rows:,} of {outcome.run.rows:,}   {whole}")
    if outcome.scanned.rows:
        pace = f"{outcome.steady_rate:.1f} img/s after the first part" if outcome.steady_rate else "one part only"
        print(
            f"scanned now: {outcome.scanned.rows:,} in {duration(outcome.seconds)} "
            f"({duration(outcome.startup_s)} to the first part, then {pace})"
        )
    for code, count in whole.most_common():
        example = outcome.examples.get(code)
        print(f"  {code:<18} {count:>8,}   {f'e.g. {example}' if example else ''}".rstrip())
    if outcome.run.identity.selection.is_dry_run and outcome.scanned.rows:
        rate = outcome.steady_rate or outcome.scanned.rows / max(outcome.seconds - outcome.startup_s, 1e-9)
        total = outcome.run.population
        print(f"estimate: the whole source, {total:,} images, takes about {duration(outcome.startup_s + total / rate)}")
    for line in outcome.account:
        print(line)
    if outcome.run.warning:
        print(f"warning: {outcome.run.warning}")


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="MANIFEST", help="Folder for the manifest.")
@click.option("--glob", "globs", multiple=True, metavar="PATTERN", help="Only names like this. Repeatable.")
@click.option("--extensions", metavar="jpg,png", help="Only these file name extensions.")
@click.option("--column", metavar="NAME", help="Column of a list or Parquet file with the addresses or images.")
@click.option("--size-column", metavar="NAME", help="Column with sizes in bytes (default: none is believed).")
@click.option("--skip-damaged", is_flag=True, help="Go on after damage inside a container, and count it.")
@with_store("input", "the source")
@with_store("output", "the manifest")
def index(source: str, output: str, globs: tuple[str, ...], extensions: str | None, **flags: Any) -> None:
    """List SOURCE once and write its manifest, which `scan` takes as a source."""
    from fakescan.cli.options.flags import split_extensions, store_from_flags
    from fakescan.sources.index import build_index

    info = build_index(
        source,
        output,
        store=store_from_flags("input", flags),
        manifest_store=store_from_flags("output", flags),
        glob=list(globs) or None,
        extensions=split_extensions(extensions),
        column=flags["column"],
        size_column=flags["size_column"],
        skip_damaged=flags["skip_damaged"],
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
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.run.folder import RunFolder
    from fakescan.storage.preflight import check_readable

    store = store_from_flags("output", flags)
    check_readable(run, store)
    return RunFolder(run, store)
