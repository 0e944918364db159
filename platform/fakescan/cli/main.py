"""The command line: parse, build a configuration, run, and say in one line what the user can fix."""

import io
import logging
import os
import signal
import sys
from typing import Any, NoReturn
from urllib.parse import quote_from_bytes

import click

from fakescan.cli.check import check
from fakescan.cli.data import data
from fakescan.cli.evaluate import calibrate, evaluate
from fakescan.cli.exit_status import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, fail
from fakescan.cli.keys import keys
from fakescan.cli.scan import compact, index, scan, verify
from fakescan.cli.serve import serve
from fakescan.cli.summary import summary
from fakescan.cli.train import train
from fakescan.errors import JobFailedError
from fakevlm import __version__
from fakevlm.errors import UserError

_LOCAL_FILES = (["--config"], ["--file"], ["--json"], ["--answers"])
"""Flags whose files are opened by their names as they are."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 success, 1 failure, 2 wrong use, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        given = _in_utf8(sys.argv[1:] if arguments is None else arguments)
        if arguments is None and given != sys.argv[1:]:  # Ray notes a driver's command line, which must be UTF-8
            os.execv(sys.executable, [*sys.orig_argv[: len(sys.orig_argv) - len(given)], *given])
        sys.exit(cli.main(given, prog_name="fakescan", standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        fail(error.format_message(), EXIT_USAGE)
    except UserError as error:
        fail(str(error), EXIT_USAGE)
    except JobFailedError as error:
        fail(str(error), EXIT_FAILED)
    except OSError as error:  # a disk or a store, after all retries
        from fakescan.storage.url import redact_text

        fail(redact_text(str(error)), EXIT_FAILED)
    except (KeyboardInterrupt, click.Abort):
        fail("interrupted; what is done stays: run the same command again to resume", EXIT_INTERRUPTED)


def _in_utf8(arguments: list[str]) -> list[str]:
    """The arguments with names of files and folders that are not UTF-8 as `file://` URLs, which settings can hold."""
    result: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if value.encode(errors="ignore").decode() == value or result[-1:] in _LOCAL_FILES:
            result.append(argument)
        else:
            result.append(f"{option}{equals}file://{quote_from_bytes(os.fsencode(os.path.abspath(value)))}")
    return result


def _interrupt(signum: int, frame: Any) -> NoReturn:
    # `ray job stop` and cluster managers send SIGTERM: leave as on Ctrl-C, releasing the lease.
    raise KeyboardInterrupt


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="fakescan")
@click.option("-v", "--verbose", is_flag=True, help="Show the logs of Ray and of the engine.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """Find out which images are synthetic, and why: FakeVLM over object storage, on Ray."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s: %(message)s")
    context.obj = verbose


for command in (calibrate, check, compact, data, evaluate, index, keys, scan, serve, summary, train, verify):
    cli.add_command(command)
