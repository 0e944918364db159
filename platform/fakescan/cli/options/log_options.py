"""`-v` and `--log-file`, which every command takes, before its name or after."""

from pathlib import Path

import click

from fakescan.cli.options.option import Option
from fakescan.settings.flag import FlagGroup
from fakescan.storage.url import redact_urls
from fakescan.terminal.logs import log_to_file, show_logs


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
    ]


def _verbose(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    ctx.obj = bool(ctx.obj) or given
    if ctx.obj and not ctx.resilient_parsing:
        show_logs()


def _log_file(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    if file is not None and not ctx.resilient_parsing:  # a shell that completes the line must not make the file
        log_to_file(file, redact=redact_urls)
