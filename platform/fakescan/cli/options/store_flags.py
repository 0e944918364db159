"""The flags that say where and as whom a command reads or writes objects: --NAME-endpoint, -profile, -region, ...."""

from collections.abc import Callable
from typing import Any

import click

from fakescan.cli.options.option import Option
from fakescan.settings.flag import FlagGroup

_FLAGS: dict[str, dict[str, Any]] = {
    "endpoint": {"metavar": "URL", "type": click.STRING, "unset": "the cloud's", "help": "S3 endpoint."},
    "profile": {"metavar": "NAME", "unset": "as the AWS tools choose", "help": "AWS profile."},
    "region": {"metavar": "REGION", "unset": "as the AWS tools choose", "help": "Region."},
    "anon": {"is_flag": True, "help": "Unsigned requests, for public buckets."},
    "option": {
        "metavar": "KEY=VALUE",
        "multiple": True,
        "unset": "none",
        "help": "Further fsspec option; env:NAME as the value reads a variable.",
    },
}


class StoreOption(Option):
    """One flag of a store. --help has a single row for the same flag of all stores of a command."""

    def __init__(self, *arguments: Any, store: str = "", subject: str = "", kind: str = "", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes, group=FlagGroup.CREDENTIALS)
        self.store, self.subject, self.kind = store, subject, kind


def store_options(name: str, subject: str) -> list[Option]:
    """The flags of a store, for `fakescan.cli.options.flags.store_from_flags`."""
    return [StoreOption([flag], **attributes) for flag, attributes in _flags(name, subject)]


def with_store(name: str, subject: str) -> Callable[[Any], Any]:
    """Gives a command the flags of a store."""

    def decorate(command: Any) -> Any:
        for flag, attributes in reversed(_flags(name, subject)):
            command = click.option(flag, cls=StoreOption, **attributes)(command)
        return command

    return decorate


def _flags(name: str, subject: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"--{name}-{kind}", {**attributes, "store": name, "subject": subject, "kind": kind})
        for kind, attributes in _FLAGS.items()
    ]
