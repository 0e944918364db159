"""One option of a command: under a heading of --help, with its default."""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from fakescan.cli.options.value_type import text_type
from fakescan.settings.flag import FlagGroup


class Option(click.Option):
    """Shows what holds without it. An empty value, as an unset variable of a shell gives one, is refused.

    `unset`: that in words, where there is no plain default. `needed`: it must be given, here or in a file.
    """

    def __init__(
        self,
        *arguments: Any,
        group: FlagGroup = FlagGroup.OPTIONS,
        unset: str = "",
        needed: bool = False,
        **attributes: Any,
    ) -> None:
        if attributes.get("type") in (None, str) and not attributes.get("is_flag") and attributes.get("metavar"):
            attributes["type"] = text_type(attributes["metavar"])
        super().__init__(*arguments, **attributes)
        self.group, self._unset, self._needed = group, unset, needed

    @property
    def note(self) -> str:
        """`default: …` or `required`; empty where nobody has said what holds without the option."""
        if self.required or self._needed:
            return "required"
        default = self.to_info_dict().get("default")
        if isinstance(default, tuple | list):
            default = ", ".join(map(str, default)) or None
        if isinstance(default, bool):
            default = "yes" if default else "no"
        words = self._unset or ("" if default is None else str(default))
        return f"default: {words}" if words else ""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option's spelling, and its help with its default."""
        record = super().get_help_record(ctx)
        if record is None or self.is_eager:
            return record
        words = f"{self.help or ''}{' Repeatable.' if self.multiple else ''}"
        return record[0], f"{words} [{self.note}]".strip() if self.note else words

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value as its type makes it. Raises click's BadParameter for an empty one."""
        if "" in (value if isinstance(value, tuple | list) else (value,)):
            raise click.BadParameter("it is empty; give a value, or leave the option out", ctx, self)
        return super().process_value(ctx, value)


def option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """`click.option` for an `Option`."""
    return click.option(*names, cls=Option, **attributes)


ray_address = partial(
    option,
    "--ray-address",
    metavar="ADDRESS",
    group=FlagGroup.ENGINES,
    unset="RAY_ADDRESS, else a local one",
    help="Ray cluster to run on.",
)
"""`--ray-address`, of every command that runs on Ray."""
