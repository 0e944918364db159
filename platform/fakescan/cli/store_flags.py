"""The flags that say where and as whom a command reads or writes objects."""

from collections.abc import Callable
from typing import Any

import click


def store_options(name: str, what: str) -> Callable[[Any], Any]:
    """The flags --NAME-endpoint, -profile, -region, -anon and -option, for `fakescan.cli.flags.store_from_flags`."""

    def decorate(command: Any) -> Any:
        for option in (
            click.option(
                f"--{name}-option",
                multiple=True,
                metavar="KEY=VALUE",
                help=f"Further fsspec option of {what}; env:NAME as the value reads a variable. Repeatable.",
            ),
            click.option(f"--{name}-anon", is_flag=True, help=f"Unsigned requests to {what}."),
            click.option(f"--{name}-region", metavar="REGION", help=f"Region of {what}."),
            click.option(f"--{name}-profile", metavar="NAME", help=f"AWS profile for {what}."),
            click.option(f"--{name}-endpoint", metavar="URL", help=f"S3 endpoint of {what}."),
        ):
            command = option(command)
        return command

    return decorate
