"""The flags that say where and as whom a command reads or writes objects: --NAME-endpoint, -profile, -region, ...."""

from collections.abc import Callable
from typing import Any

import click


def store_options(name: str, subject: str) -> list[click.Option]:
    """The flags of a store, for `fakescan.cli.options.flags.store_from_flags`."""
    return [click.Option([flag], **attributes) for flag, attributes in _flags(name, subject)]


def with_store(name: str, subject: str) -> Callable[[Any], Any]:
    """Gives a command the flags of a store."""

    def decorate(command: Any) -> Any:
        for flag, attributes in reversed(_flags(name, subject)):
            command = click.option(flag, **attributes)(command)
        return command

    return decorate


def _flags(name: str, subject: str) -> list[tuple[str, dict[str, Any]]]:
    option = f"Further fsspec option of {subject}; env:NAME as the value reads a variable. Repeatable."
    return [
        (f"--{name}-endpoint", {"metavar": "URL", "help": f"S3 endpoint of {subject}."}),
        (f"--{name}-profile", {"metavar": "NAME", "help": f"AWS profile for {subject}."}),
        (f"--{name}-region", {"metavar": "REGION", "help": f"Region of {subject}."}),
        (f"--{name}-anon", {"is_flag": True, "help": f"Unsigned requests to {subject}."}),
        (f"--{name}-option", {"multiple": True, "metavar": "KEY=VALUE", "help": option}),
    ]
