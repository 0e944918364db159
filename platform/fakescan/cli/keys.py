"""`fakescan keys`: makes, lists, renews and revokes the API keys of a server."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fakescan.cli.options.command import Group
from fakescan.cli.options.option import option
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fakescan.serve.keys import Key

_FILE = option(
    "--file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where the keys are kept, as hashes."
)


@click.group(cls=Group)
def keys() -> None:
    """Make, list, renew and revoke the API keys of `fakescan serve --keys FILE`.

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
    type=click.Choice(("detect", "scans", "metrics")),
    metavar="detect|scans|metrics",
    help="What the key opens.",
)
@option("--expires", metavar="DATE|90d", unset="never", help="When it ends: a date (UTC), or days or hours from now.")
def add(
    name: str, file: Path, per_minute: int | None, burst: int | None, scopes: tuple[str, ...], expires: str | None
) -> None:
    """Make a key for the client NAME and print it, this once.

    FILE is made if it is not there; its folder must exist. Standard output holds the key and nothing else.
    """
    from fakescan.serve.keys import edit_keys

    with edit_keys(file, create=True) as edit:
        ends = None if expires is None else _end(expires)
        presented = edit.add(name, per_minute=per_minute, burst=burst, scopes=scopes, expires_at=ends)
    click.echo(presented)
    click.echo(f"shown only this once, store it: {file} holds a hash of it", err=True)


@keys.command()
@click.argument("name_or_id")
@_FILE
@option(
    "--grace",
    metavar="7d|12h",
    default="7d",
    help="How long the old secret works beside the new one; 0 for not at all.",
)
def rotate(name_or_id: str, file: Path, grace: str) -> None:
    """Give a key another secret and print it, this once.

    The old one works for a while. Name, limits and scopes stay. A key has two secrets at most: of two, the older one
    ends.
    """
    from fakescan.serve.keys import edit_keys

    with edit_keys(file) as edit:
        presented = edit.rotate(name_or_id, _duration("--grace", grace))
    click.echo(presented)
    click.echo(f"shown only this once, store it; the old secret works for {grace} more", err=True)


@keys.command("list")
@_FILE
def list_(file: Path) -> None:
    """Show the keys of FILE, without their secrets."""
    from fakescan.serve.keys import read_keys
    from fakescan.terminal.tables import text_table, wide_console

    found = read_keys(file).keys
    console = wide_console()
    table = text_table(console, "id", "name", "limit", "scopes", "created", "ends", "state")
    for key in found:
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        ends = "never" if key.expires_at is None else f"{key.expires_at.astimezone(UTC):%Y-%m-%d %H:%M}"
        table.add_row(key.id, key.name, _limit(key), ",".join(key.scopes), created, ends, _key_state(key))
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


def _key_state(key: "Key") -> str:
    now = datetime.now(UTC)
    if key.disabled:
        return "disabled"
    if not key.is_valid(now):
        return "expired"
    if key.old_until is not None and now < key.old_until:
        return f"old secret until {key.old_until.astimezone(UTC):%Y-%m-%d %H:%M}"
    return "valid"


def _end(text: str) -> datetime:
    """The time that --expires names."""
    if re.fullmatch(r"\d+[dh]", text):
        return (datetime.now(UTC) + _duration("--expires", text)).replace(microsecond=0)
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"--expires: {text!r} is no date; use one such as 2027-03-31 or 2027-03-31T18:00, or 90d or 12h"
        ) from None
    return end if end.tzinfo is not None else end.replace(tzinfo=UTC)


def _duration(flag: str, text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([dh])|0", text)
    if found is None:
        raise UserError(f"{flag}: {text!r} is no time; use days or hours, such as 7d or 12h")
    number = int(found[1] or 0)
    return timedelta(days=number) if found[2] == "d" else timedelta(hours=number)
