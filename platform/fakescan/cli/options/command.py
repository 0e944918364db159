"""Commands and groups of them: the options that all have, their help, and flags made from a settings class."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.help_page import write_examples, write_options, write_rows
from fakescan.cli.options.log_options import log_options

if TYPE_CHECKING:
    from pydantic import BaseModel


HELP = ("-h", "--help")
"""What asks a command for its help.

Click makes the option of the first context in which a command's options are listed, and keeps it: so the names are the
command's own, and the same in every context.
"""


class Command(click.Command):
    """A command with -v and --log-file, options under headings, and examples at the end of its help.

    `examples`: pairs of what is achieved and the command line for it.
    """

    def __init__(self, *arguments: Any, examples: Sequence[tuple[str, str]] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples
        self.params = [*self.params, *log_options()]

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """`HELP`, whatever the context says."""
        return list(HELP)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, and the examples."""
        write_options(self.get_params(ctx), ctx, formatter)
        if self.examples:
            write_examples(self.examples, formatter)


class Group(click.Group):
    """A group of commands; without arguments it shows its help. The options of `Command` are its own too."""

    command_class = Command
    group_class = type

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params = [*self.params, *log_options()]

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """`HELP`, whatever the context says."""
        return list(HELP)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; no arguments at all are a question, which the help answers with success."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        write_options(self.get_params(ctx), ctx, formatter)


class SettingsCommand(Command):
    """Has a flag for each field of the settings that is annotated with a `Flag`, and five for each store.

    `settings` is `module:Class`. It is imported when the command is used, not when the program starts: a class of
    settings brings pydantic and the stores with it. `without` names fields that get no flag here.
    """

    def __init__(self, *arguments: Any, settings: str, without: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings, self._without = settings, frozenset(without)
        self._complete = False

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, then those of the settings, then --help."""
        if not self._complete:
            from fakescan.cli.options.flags import options_of

            self.params = [*self.params, *options_of(_settings_class(self._settings), self._without)]
            self._complete = True
        return super().get_params(ctx)


class SettingsFileCommand(Command):
    """A command whose settings come from a file: --help lists them, with their defaults.

    `settings` is `module:Class`, as for `SettingsCommand`.
    """

    def __init__(self, *arguments: Any, settings: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings = settings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the settings after the command's text, then the options."""
        from fakescan.cli.options.settings_list import settings_rows

        with formatter.section("Settings"):
            write_rows(settings_rows(_settings_class(self._settings)), formatter)
        super().format_options(ctx, formatter)


def _settings_class(place: str) -> "type[BaseModel]":
    module, _, name = place.partition(":")
    found: type[BaseModel] = getattr(import_module(module), name)
    return found
