"""The command line: parse, build a configuration, run, and say in one line what the user can fix."""

import atexit
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import warnings
from socket import gethostname
from typing import Any, NoReturn
from urllib.parse import quote_from_bytes

import click

from fakescan.cli.audit.duplicates import duplicates
from fakescan.cli.audit.keep import diff, filter_
from fakescan.cli.audit.prevalence import prevalence
from fakescan.cli.audit.report import report
from fakescan.cli.audit.review import review
from fakescan.cli.audit.view import view
from fakescan.cli.check import check
from fakescan.cli.data import data
from fakescan.cli.evaluate import calibrate, evaluate
from fakescan.cli.exit_status import ending_of, fail
from fakescan.cli.keys import keys
from fakescan.cli.nightly import nightly
from fakescan.cli.options.command import HELP, Group
from fakescan.cli.options.log_options import check_variable, wants_json
from fakescan.cli.options.option import Option
from fakescan.cli.provenance import provenance
from fakescan.cli.rejudge import rejudge
from fakescan.cli.scan import compact, index, scan, verify
from fakescan.cli.serve import serve
from fakescan.cli.summary import summary
from fakescan.cli.train import train
from fakescan.settings.flag import FlagGroup
from fakescan.storage.url import redact_urls
from fakescan.terminal.json_logs.fields import set_process_fields
from fakescan.terminal.json_logs.output import start
from fakescan.terminal.logs import log_only_to_files, log_session
from fakevlm import __version__

_LOCAL_FILES = ("--config", "--file", "--json", "--answers", "--log-file")
"""Flags whose files are opened by their names as they are."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 success, 1 failure, 2 wrong use, 130 interrupted.

    Without `arguments` it is all that this process does, which then ends without the second that Python takes to clear
    away what Ray has left in it: threads have been joined and exit handlers have run.
    """
    try:
        _run(arguments)
    except SystemExit as ending:
        if arguments is not None or not isinstance(ending.code, int | None):
            raise
        with contextlib.suppress(KeyboardInterrupt):  # one more Ctrl-C
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            # A reader that has gone away, or a stream that whoever started us has closed.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(ending.code or 0)


def _run(arguments: list[str] | None) -> NoReturn:
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries say to programmers
    given = _in_utf8(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and given != sys.argv[1:]:  # Ray notes a driver's command line, which must be UTF-8
        os.execv(sys.executable, [*sys.orig_argv[: len(sys.orig_argv) - len(given)], *given])
    if wants_json(given):
        set_process_fields(command=next((word for word in given if word in cli.commands), None), host=gethostname())
        start(redact_urls)
    with log_session():
        try:
            check_variable()
            sys.exit(cli.main(given, prog_name="fakescan", standalone_mode=False) or 0)
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except (Exception, KeyboardInterrupt) as error:
            ending = ending_of(error)
            if ending is None:
                log_only_to_files(logging.CRITICAL, "a mistake of the program's own", error=error)
                raise
            fail(ending.message, ending.status)


def _in_utf8(arguments: list[str]) -> list[str]:
    """The arguments with names of files and folders that are not UTF-8 as `file://` URLs, which settings can hold."""
    result: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        is_local = option in _LOCAL_FILES or (result and result[-1] in _LOCAL_FILES)
        if value.encode(errors="ignore").decode() == value or is_local:
            result.append(argument)
        else:
            result.append(f"{option}{equals}file://{quote_from_bytes(os.fsencode(os.path.abspath(value)))}")
    return result


def _interrupt(signum: int, frame: Any) -> NoReturn:
    # `ray job stop` and cluster managers send SIGTERM: leave as on Ctrl-C, releasing the lease.
    raise KeyboardInterrupt


@click.group(cls=Group, context_settings={"help_option_names": HELP, "max_content_width": 110})
@click.version_option(__version__, prog_name="fakescan", cls=Option, group=FlagGroup.GENERAL)
def cli() -> None:
    """Find out which images are synthetic, and why: FakeVLM over object storage, on Ray."""


for command in (
    calibrate,
    check,
    compact,
    data,
    diff,
    duplicates,
    evaluate,
    filter_,
    index,
    keys,
    nightly,
    prevalence,
    provenance,
    rejudge,
    report,
    review,
    scan,
    serve,
    summary,
    train,
    verify,
    view,
):
    cli.add_command(command)
