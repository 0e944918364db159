"""`fakescan provenance`: what single files say of their own origin, and the trust lists for it."""

import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.exit_status import EXIT_FAILED, fail
from fakescan.cli.options.command import HELP, Group, SettingsCommand
from fakescan.cli.options.option import option
from fakescan.settings.flag import FlagGroup
from fakescan.terminal.messages import say

if TYPE_CHECKING:
    from fakescan.provenance.files import FileProvenance

_INDENT = " " * 4
_MAX_NAME = 500
_DEFAULT = "read"
_WITH_VALUE = ("--log-file", "--log-format")
"""Options of all commands that take a value."""


class _FilesOrCommand(Group):
    """A group whose commands may be left out: names of files are read."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; without the name of a command it is `read`."""
        if args and args[0] not in HELP and _first_word(args) not in self.commands:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


def _first_word(args: list[str]) -> str | None:
    """What follows the options that stand before a command."""
    words = iter(args)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


@click.group(cls=_FilesOrCommand, subcommand_metavar="[read] FILE... | update-trust")
def provenance() -> None:
    """Print what files say of their own origin: C2PA, IPTC, generators' texts, labels, EXIF.

    `fakescan provenance FILE...` is `fakescan provenance read FILE...`; its options are those of
    `fakescan provenance read --help`.
    """


@provenance.command(
    cls=SettingsCommand,
    settings="fakescan.provenance.config:ProvenanceConfig",
    examples=[
        ("What two files say", "fakescan provenance photo.jpg https://example.org/picture.png"),
        ("For a program", "fakescan provenance --json s3://bucket/photo.jpg"),
        ("Against a trust list of your own", "fakescan provenance --trust-list signers.pem photo.jpg"),
    ],
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@option("--json", "as_json", is_flag=True, group=FlagGroup.OUTPUT, help="Print a line of JSON for each file.")
@click.pass_obj
def read(verbose: bool, /, files: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Print what each FILE says of its own origin.

    FILE is a local file, a URL (s3://, gs://, az://, https://), or - for standard input. What a file says is a claim,
    unless a signer of the trust list stands for it, and it is no verdict. The exit status is 1 when a file cannot be
    read.
    """
    from fakescan.cli.options.flags import settings_of
    from fakescan.provenance.config import ProvenanceConfig
    from fakescan.provenance.files import read_files
    from fakevlm.checkpoint.cache import cache_folder
    from fakevlm.provenance.trust import NO_LISTS, TrustLists

    config = settings_of(ProvenanceConfig, flags, command="provenance")
    named = config.trust_list is not None
    trust = TrustLists.from_path(config.trust_list) if config.trust_list else TrustLists.newest(cache_folder())
    failed = unchecked = 0
    for name, found in zip(files, read_files(files, config, trust, verbose=verbose), strict=True):
        failed += found.error_code is not None
        unchecked += trust is None and found.provenance_basis is not None and "c2pa" in found.provenance_basis
        if as_json:
            print(json.dumps(json.loads(found.model_dump_json())), flush=True)
        else:
            print("\n".join(lines_of(name, found)), flush=True)
    if unchecked:
        say(f"warning: {NO_LISTS}")
    elif trust is not None and not named and (warning := trust.warning()):
        say(f"warning: {warning}")
    if failed:
        fail(f"{failed} of {len(files)} files could not be read", EXIT_FAILED)


@provenance.command("update-trust")
@option(
    "--from",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    unset="the lists that the C2PA publishes",
    help="File or URL to take a list from, such as a mirror.",
)
def update_trust(addresses: tuple[str, ...]) -> None:
    """Fetch the C2PA trust lists into the cache folder, where scan, serve and provenance find them.

    Their address, date and hash are kept beside them, and recorded in the run.json of every scan that uses them.
    """
    from fakescan.provenance.trust_update import OFFICIAL
    from fakescan.provenance.trust_update import update_trust as update
    from fakevlm.checkpoint.cache import cache_folder
    from fakevlm.provenance.trust import CACHE_NAME

    cache = cache_folder()
    lists = update(addresses or OFFICIAL, cache)
    click.echo(f"{lists.certificates} certificates of {lists.dated} in {cache / CACHE_NAME}")
    click.echo(f"from    {lists.source}")
    click.echo(f"sha256  {lists.sha256}")


def lines_of(name: str, found: "FileProvenance") -> Iterator[str]:
    """The result for people: a line to find it by, and below it what it says."""
    from fakescan.storage.url import redact
    from fakescan.terminal.console import printable_line

    shown = printable_line(redact(name))
    if len(shown) > _MAX_NAME:
        shown = f"{shown[:_MAX_NAME]}…"
    width = max(shutil.get_terminal_size((80, 24)).columns, 40)
    if found.error_code is not None:
        yield f"{'error':<12}  {shown}"
        texts = [f"{found.error_code}: {found.error_message}"]
    else:
        yield f"{found.provenance:<12}  {shown}  ({found.format})"
        texts = [found.words or "", *_details(found.provenance_detail)]
    for text in texts:
        yield from textwrap.wrap(
            printable_line(" ".join(text.split())), width, initial_indent=_INDENT, subsequent_indent=_INDENT + "  "
        )


def _details(detail: str | None) -> Iterator[str]:
    """One text for each source and for the state of the manifest."""
    facts = json.loads(detail) if detail else {}
    for source in facts.get("sources", ()):
        rest = (f"{key} {value}" for key, value in source.items() if key not in ("basis", "says"))
        yield f"{source['basis']}: {source['says']}; {'; '.join(rest)}"
    if "c2pa" in facts:
        yield "Content Credentials: " + "; ".join(f"{key} {_plain(value)}" for key, value in facts["c2pa"].items())
    for key in ("contains", "conflict", "cut"):
        if facts.get(key):
            yield f"{key}: {_plain(facts[key])}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
