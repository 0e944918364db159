"""`fakescan keys`: makes, lists and revokes the API keys of a server."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fakescan.cli.options.command import Group
from fakescan.cli.options.option import option

if TYPE_CHECKING:
    from fakescan.serve.keys import Key

_FILE = option(
    "--file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where the keys are kept, as hashes."
)


@click.group(cls=Group)
def keys() -> None:
    """Make, list and revoke the API keys of `fakescan serve --keys FILE`.

    A running server notices every change within about three seconds. Edit FILE with these commands, do not delete it:
    the server then keeps to the keys it has.
    """


@keys.command()
@click.argument("name")
@_FILE
@option("--per-minute", type=int, metavar="N", unset="the server's limit", help="Images in a minute.")
@option("--burst", type=int, metavar="N", unset="the server's limit", help="Images at once.")
@option(
    "--scope",
    "scopes",
    multiple=True,
    default=("detect",),
    type=click.Choice(("detect", "scans")),
    metavar="detect|scans",
    help="What the key opens.",
)
def add(name: str, file: Path, per_minute: int | None, burst: int | None, scopes: tuple[str, ...]) -> None:
    """Make a key for the client NAME and print it, this once; FILE is made if it is not there.

    Standard output holds the key and nothing else.
    """
    from fakescan.serve.keys import edit_keys

    with edit_keys(file, create=True) as edit:
        presented = edit.add(name, per_minute=per_minute, burst=burst, scopes=scopes)
    click.echo(presented)
    click.echo(f"shown only this once, store it: {file} holds a hash of it", err=True)


@keys.command("list")
@_FILE
def list_(file: Path) -> None:
    """Show the keys of FILE, without their secrets."""
    from fakescan.serve.keys import read_keys
    from fakescan.terminal.tables import text_table, wide_console

    found = read_keys(file).keys
    console = wide_console()
    table = text_table(console, "id", "name", "limit", "scopes", "created", "disabled")
    for key in found:
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(key.id, key.name, _limit(key), ",".join(key.scopes), created, "yes" if key.disabled else "no")
    console.print(table)


@keys.command()
@click.argument("name_or_id")
@_FILE
def disable(name_or_id: str, file: Path) -> None:
    """Have a key refused, and keep it in the list."""
    from fakescan.serve.keys import edit_keys

    with edit_keys(file) as edit:
        key = edit.disable(name_or_id)
    click.echo(f"{key.name} ({key.id}) is disabled")


@keys.command()
@click.argument("name_or_id")
@_FILE
def remove(name_or_id: str, file: Path) -> None:
    """Remove a key; its name may be used again."""
    from fakescan.serve.keys import edit_keys

    with edit_keys(file) as edit:
        key = edit.remove(name_or_id)
    click.echo(f"{key.name} ({key.id}) is removed")


def _limit(key: "Key") -> str:
    per_minute = "default" if key.per_minute is None else f"{key.per_minute:,}/min"
    return per_minute if key.burst is None else f"{per_minute}, burst {key.burst:,}"
