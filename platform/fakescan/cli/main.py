"""The command line: parse, build a configuration, run, and say in one line what the user can mend."""

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fakescan.cli.data import data
from fakescan.cli.evaluate import calibrate, evaluate
from fakescan.cli.keys import keys
from fakescan.cli.serve import serve
from fakescan.cli.store_flags import store_options
from fakescan.cli.train import train
from fakescan.errors import JobFailedError
from fakevlm import __version__
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fakescan.run.folder import RunFolder
    from fakescan.scan.driver import ScanOutcome

EXIT_USAGE = 2
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 success, 1 failure, 2 wrong use, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(cli.main(arguments, prog_name="fakescan", standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), EXIT_USAGE)
    except UserError as error:
        _fail(str(error), EXIT_USAGE)
    except JobFailedError as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:  # a disk or a store, after all retries
        from fakescan.storage.url import redact_text

        _fail(redact_text(str(error)), EXIT_FAILED)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; what is done stays: run the same command again to resume", EXIT_INTERRUPTED)


def _interrupt(signum: int, frame: Any) -> NoReturn:
    # `ray job stop` and cluster managers send SIGTERM: leave as on Ctrl-C, releasing the lease.
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> NoReturn:
    print(f"fakescan: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fakescan")
@click.option("-v", "--verbose", is_flag=True, help="Show the logs of Ray and of the engine.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """Find out which images are synthetic, and why: FakeVLM over object storage, on Ray."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s")
    context.obj = verbose


@cli.command()
@click.argument("source", required=False)
@click.option("-o", "--output", metavar="URL", help="Folder or prefix of the run; resumed if it holds one.")
@click.option("--config", type=click.Path(path_type=Path), metavar="YAML", help="Settings; flags go first.")
@click.option(
    "--model", metavar="M", help="Checkpoint: local path, hub id or URL (for real verdicts: lingcco/fakeVLM)."
)
@click.option("--explain", metavar="fakes|all|none", help="Which images to explain (default: fakes).")
@click.option("--threshold", type=float, metavar="P", help="Score from which an image is fake.")
@click.option(
    "--calibration", metavar="FILE", help="What `fakescan calibrate` wrote, in place of the checkpoint's own."
)
@click.option("--max-new-tokens", type=int, metavar="N", help="Longest explanation, in tokens.")
@click.option("--engine", metavar="vllm|fake", help="fake simulates: verdicts mean nothing (default: vllm).")
@click.option("--replicas", metavar="N|N-M", help="Engines that judge at once (default: 1).")
@click.option("--gpus-per-replica", type=float, metavar="N", help="Default: 1 where there are GPUs.")
@click.option("--glob", "globs", multiple=True, metavar="PATTERN", help="Only names like this. Repeatable.")
@click.option("--extensions", metavar="jpg,png", help="Only these file name extensions.")
@click.option("--limit", type=int, metavar="N", help="Dry run on the first N images, with an estimate for all.")
@click.option("--sample", type=int, metavar="N", help="Dry run on N random images, with an estimate for all.")
@click.option("--new-since", metavar="RUN", help="Only images that are new or changed since this run.")
@click.option("--retry-errors", is_flag=True, help="Scan rows again that ended in an error.")
@click.option("--break-lease", is_flag=True, help="Take over a run that another scan seems to be writing.")
@click.option("--max-error-rate", type=float, metavar="SHARE", help="Fail when more of the rows are errors.")
@click.option("--shard-rows", type=int, metavar="N", help="Images per part.")
@click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one).")
@store_options("input", "the source")
@store_options("output", "the output")
@store_options("model", "the checkpoint")
@click.pass_obj
def scan(verbose: bool, /, config: Path | None, ray_address: str | None, **flags: Any) -> None:
    """Scan every image of SOURCE and write verdicts, scores, explanations and errors to --output as Parquet.

    SOURCE is a folder, a URL prefix (s3://, gs://, az://, https:// list), a manifest, Parquet with images, or tar
    shards. The same command again resumes.
    """
    from fakescan.cli.scan_settings import scan_config

    settings = scan_config(config, flags)
    from fakescan.scan.driver import run_scan

    outcome = run_scan(settings, ray_address=ray_address, verbose=verbose)
    _report(outcome)
    if outcome.error_rate > settings.max_error_rate:
        _fail(
            f"{outcome.error_rate:.2%} of the rows are errors, above --max-error-rate {settings.max_error_rate:.2%}",
            EXIT_FAILED,
        )


def _report(outcome: "ScanOutcome") -> None:
    from fakescan.terminal.duration import duration

    whole = outcome.whole
    print(f"results: {outcome.url}/parts/*.parquet   (run {outcome.run.run_id}, model {outcome.run.model})")
    print(
        f"rows: {whole.rows:,} of {outcome.run.rows:,}   real {whole.real:,}   fake {whole.fake:,}   "
        f"uncertain {whole.uncertain:,}   errors {whole.failed:,}"
    )
    if outcome.scanned.rows:
        pace = f"{outcome.steady_rate:.1f} img/s after the first part" if outcome.steady_rate else "one part only"
        print(
            f"scanned now: {outcome.scanned.rows:,} in {duration(outcome.seconds)} "
            f"({duration(outcome.startup_s)} to the first part, then {pace})"
        )
    for code, count in whole.most_common()[:5]:
        example = outcome.examples.get(code)
        print(f"  {code:<18} {count:>8,}   {f'e.g. {example}' if example else ''}".rstrip())
    if outcome.run.identity.selection.is_dry_run and outcome.scanned.rows:
        rate = outcome.steady_rate or outcome.scanned.rows / max(outcome.seconds - outcome.startup_s, 1e-9)
        total = outcome.run.population
        print(f"estimate: the whole source, {total:,} images, takes about {duration(outcome.startup_s + total / rate)}")
    if outcome.run.warning:
        print(f"warning: {outcome.run.warning}")


@cli.command()
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="MANIFEST", help="Folder for the manifest.")
@click.option("--glob", "globs", multiple=True, metavar="PATTERN", help="Only names like this. Repeatable.")
@click.option("--extensions", metavar="jpg,png", help="Only these file name extensions.")
@store_options("input", "the source")
@store_options("output", "the manifest")
def index(source: str, output: str, globs: tuple[str, ...], extensions: str | None, **flags: Any) -> None:
    """List SOURCE once and write its manifest, which `scan` takes as a source."""
    from fakescan.cli.flags import split_extensions, store_from_flags
    from fakescan.sources.index import build_index

    info = build_index(
        source,
        output,
        store=store_from_flags("input", flags),
        manifest_store=store_from_flags("output", flags),
        glob=list(globs) or None,
        extensions=split_extensions(extensions),
    )
    print(f"{info.rows:,} images in {output} ({info.duplicates:,} duplicates left out)")
    for extension, count in sorted(info.skipped_by_extension.items(), key=lambda item: -item[1])[:5]:
        print(f"  {count:,} objects with extension {extension or '(none)'} left out")


@cli.command()
@click.argument("run")
@store_options("output", "the run")
def verify(run: str, **flags: Any) -> None:
    """Check that RUN accounts for every row of its manifest exactly once."""
    from fakescan.run.verify import verify as check

    found = check(_run_folder(run, flags))
    for problem in found.problems[:20]:
        print(problem)
    if len(found.problems) > 20:
        print(f"… and {len(found.problems) - 20} more")
    if found.problems:
        _fail(f"{run} does not account for every row ({len(found.problems)} problems)", EXIT_FAILED)
    counts = found.counts
    print(
        f"ok: {counts.rows:,} rows, each once   real {counts.real:,}   fake {counts.fake:,}   "
        f"uncertain {counts.uncertain:,}   errors {counts.failed:,}"
    )
    for code, count in counts.most_common():
        print(f"  {code:<18} {count:>8,}")


@cli.command()
@click.argument("run")
@store_options("output", "the run")
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


cli.add_command(calibrate)
cli.add_command(data)
cli.add_command(evaluate)
cli.add_command(keys)
cli.add_command(serve)
cli.add_command(train)
