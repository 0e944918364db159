"""`-v`, `--log-file` and `--log-format`, which every command takes, before its name or after."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from fakescan.cli.options.option import Option
from fakescan.settings.flag import FlagGroup
from fakescan.storage.url import redact_urls
from fakescan.terminal.json_logs.output import VARIABLE, start
from fakescan.terminal.logs import log_to_file, show_logs
from fakevlm.errors import UserError

_FORMATS = ("text", "json")


def log_options() -> list[click.Option]:
    """New options, for one command; `context.obj` is whether -v was given to it or to a group that it is in."""
    return [
        Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_verbose,
            group=FlagGroup.GENERAL,
            help="Show the logs of Ray and of the engine.",
        ),
        Option(
            ["--log-file"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_log_file,
            group=FlagGroup.GENERAL,
            unset="none",
            help="Add the logs to FILE too, with times, also without -v.",
        ),
        Option(
            ["--log-format"],
            type=click.Choice(_FORMATS),
            expose_value=False,
            callback=_log_format,
            group=FlagGroup.GENERAL,
            unset=f"{VARIABLE}, else text",
            help="Write stderr, and --log-file, as text or as a JSON object on each line.",
        ),
    ]


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether logs are to be JSON: by what a command line says, of which nothing is known to be right, or VARIABLE."""
    chosen = os.environ.get(VARIABLE, "")
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        name, equals, value = argument.partition("=")
        if name == "--log-format":
            chosen = value if equals else next(iter(arguments[index + 1 : index + 2]), "")
    return chosen == "json"


def check_variable() -> None:
    """Raise UserError where VARIABLE names no format."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen and chosen not in _FORMATS:
        raise UserError(f"{VARIABLE}: {chosen!r} is not a format of logs; set it to {' or '.join(_FORMATS)}")


def _verbose(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    ctx.obj = bool(ctx.obj) or given
    if ctx.obj and not ctx.resilient_parsing:
        show_logs()


def _log_file(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    if file is not None and not ctx.resilient_parsing:  # a shell that completes the line must not make the file
        log_to_file(file, redact=redact_urls)


def _log_format(ctx: click.Context, _: click.Parameter, chosen: str | None) -> None:
    if ctx.resilient_parsing or chosen is None:
        return
    if chosen == "json":
        start(redact_urls)  # mostly it is so already: see `wants_json`
    elif VARIABLE in os.environ:
        os.environ[VARIABLE] = chosen  # for the processes that this one starts
