"""`--json` and `--quiet`: where what a command has to say goes."""

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from fakescan.cli.exit_status import EXIT_FAILED, Ending, ending_of
from fakescan.cli.options.option import option
from fakescan.errors import JobFailedError
from fakescan.settings.flag import FlagGroup

_JSON = option(
    "--json",
    "as_json",
    is_flag=True,
    group=FlagGroup.OUTPUT,
    help="Print one JSON object on stdout, and all else on stderr.",
)
_QUIET = option(
    "-q", "--quiet", is_flag=True, group=FlagGroup.OUTPUT, help="No progress and no summary: only what is wrong."
)


@dataclass(kw_only=True)
class JsonReport:
    """The fields that every object of --json has; those of a failure without a summary, these alone."""

    command: str = ""
    """The command, such as `scan`."""
    exit_status: int = 0
    """The exit status of the program."""
    exit_reason: str = "done"
    """`done`; `problems` (verify), `error_rate` (scan); `usage`, `failed` or `interrupted`."""
    error: str | None = None
    """The line that stderr ends with; null where nothing failed."""
    seconds: float = 0.0
    """Duration of the command."""

    def fail(self, reason: str, message: str) -> None:
        """The command has its summary and fails all the same, with exit status 1."""
        self.exit_status, self.exit_reason, self.error = EXIT_FAILED, reason, message


@dataclass
class Reporter:
    """Where a command's words go: to stdout, or with --json to stderr, or with --quiet nowhere."""

    as_json: bool = False
    quiet: bool = False
    _started: float = field(default_factory=time.monotonic)
    _report: JsonReport | None = None

    @contextlib.contextmanager
    def for_people(self) -> Iterator[None]:
        """What is printed inside is a summary for people. Warnings and errors have no place in it."""
        with contextlib.ExitStack() as stack:
            if self.quiet:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            yield

    def finish(self, report: JsonReport) -> None:
        """End with this summary. Raises JobFailedError where it is that of a failure."""
        self._report = report
        if report.error is not None:
            raise JobFailedError(report.error)

    def ended_by(self, ending: Ending) -> None:
        """End without a summary, if there is none yet."""
        if self._report is None:
            self._report = JsonReport(exit_status=ending.status, exit_reason=ending.reason, error=ending.message)

    def object(self, command: str) -> str | None:
        """The summary as one line of JSON; None where there is none."""
        if self._report is None:
            return None
        self._report.command = command
        self._report.seconds = round(time.monotonic() - self._started, 3)
        return json.dumps(asdict(self._report))


def with_reports(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --json and --quiet; it gets a `Reporter` as `reporter`, and must end with `Reporter.finish`.

    With --json the object is all that stdout gets, whatever a library writes there meanwhile.
    """

    @functools.wraps(command)
    def run(*arguments: Any, as_json: bool, quiet: bool, **flags: Any) -> None:
        reporter = Reporter(as_json, quiet)
        name = click.get_current_context().info_name or ""
        try:
            with _stdout_kept_free() if as_json else contextlib.nullcontext():
                command(*arguments, reporter=reporter, **flags)
        except (Exception, KeyboardInterrupt) as error:
            if ending := ending_of(error):
                reporter.ended_by(ending)
            raise
        finally:
            if as_json and (line := reporter.object(name)) is not None:
                print(line, flush=True)

    decorated: Callable[..., None] = _JSON(_QUIET(run))
    return decorated


@contextlib.contextmanager
def _stdout_kept_free() -> Iterator[None]:
    """What is written to stdout, by this process or one that it starts, goes to stderr."""
    if sys.stdout is None or sys.stderr is None:  # closed by whoever started us: other files may have their numbers
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
