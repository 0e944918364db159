"""How the program ends: its exit statuses, and a failure in one line."""

import logging
import sys
from typing import NamedTuple, NoReturn

import click

from fakescan.errors import JobFailedError
from fakescan.terminal.logs import log_only_to_files
from fakevlm.errors import UserError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class NothingToResumeError(KeyboardInterrupt):
    """An interruption of what is not resumed; its message says what was interrupted."""


class Ending(NamedTuple):
    """How a command ended that did not succeed."""

    reason: str
    """One word: `usage`, `failed` or `interrupted`."""
    status: int
    message: str


def ending_of(error: BaseException) -> Ending | None:
    """What an exception means for the user; None for a mistake of the program's own."""
    if isinstance(error, click.ClickException):
        return Ending("usage", EXIT_USAGE, _usage(error))
    if isinstance(error, UserError):
        return Ending("usage", EXIT_USAGE, _one_line(str(error)))
    if isinstance(error, JobFailedError):
        return Ending("failed", EXIT_FAILED, _one_line(str(error)))
    if isinstance(error, OSError):  # a disk or a store, after all retries
        from fakescan.storage.url import redact_text

        return Ending("failed", EXIT_FAILED, redact_text(str(error)))
    if isinstance(error, KeyboardInterrupt | click.Abort):
        interrupt = error.__cause__ or error  # click has made an Abort of it
        if isinstance(interrupt, NothingToResumeError):
            return Ending("interrupted", EXIT_INTERRUPTED, str(interrupt))
        place = str(interrupt) or "interrupted"
        message = f"{place}; what is done stays: run the same command again to resume"
        return Ending("interrupted", EXIT_INTERRUPTED, message)
    return None


def fail(message: str, status: int) -> NoReturn:
    """Say on stderr in one line what is wrong, and exit."""
    from fakescan.terminal.messages import print_error

    line = _one_line(message)
    log_only_to_files(logging.ERROR, line)
    print_error(line, exit_status=status)
    sys.exit(status)


def _usage(error: click.ClickException) -> str:
    """Click's message; where it makes no proposal of its own, with the page that helps."""
    message = _one_line(error.format_message())
    near = getattr(error, "possibilities", None)
    if near:  # the likeliest first
        return f"{_one_line(str(error))} Did you mean '{near[0]}'?"
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    return f"{message.rstrip('.')}; see {context.command_path} --help"


def _one_line(text: str) -> str:
    return " ".join(text.split())
