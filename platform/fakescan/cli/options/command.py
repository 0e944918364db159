"""A command whose flags are made from a settings class."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click


class SettingsCommand(click.Command):
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

            module, _, name = self._settings.partition(":")
            self.params = [*self.params, *options_of(getattr(import_module(module), name), self._without)]
            self._complete = True
        return super().get_params(ctx)
