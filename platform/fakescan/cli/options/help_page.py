"""The options of a command as --help shows them: under headings, credentials last and in as few lines as may be."""

from collections.abc import Iterable, Sequence

import click

from fakescan.cli.options.option import Option
from fakescan.cli.options.store_flags import StoreOption
from fakescan.settings.flag import FlagGroup

_COLUMN = 24
"""Width of the first column, in characters; what is longer has a line of its own."""

Row = tuple[str, str]


def write_options(parameters: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write every option, under its group's heading."""
    options = [parameter for parameter in parameters if isinstance(parameter, click.Option)]
    for group in FlagGroup:
        members = [option for option in options if group_of(option) is group]
        members.sort(key=lambda option: not isinstance(option, Option) or option.note != "required")
        stores = [option for option in members if isinstance(option, StoreOption)]
        rows = [record for option in members if option not in stores and (record := option.get_help_record(ctx))]
        if not rows and not stores:
            continue
        with formatter.section(group):
            if stores:
                formatter.write_text(_legend(stores))
                rows += _store_rows(stores)
            write_rows(rows, formatter)


def group_of(option: click.Option) -> FlagGroup:
    """The heading of an option; click's own --help is a general one."""
    return option.group if isinstance(option, Option) else FlagGroup.GENERAL


def write_rows(rows: Sequence[Row], formatter: click.HelpFormatter) -> None:
    """Write a definition list whose columns are those of every other one."""
    (first, words), *others = rows
    formatter.write_dl([(first.ljust(_COLUMN), words), *others], col_max=_COLUMN)


def write_examples(examples: Sequence[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """Write what is achieved and the command line for it, which is never broken."""
    with formatter.section("Examples"):
        for words, command in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{words}:\n")
            formatter.write(f"{'':>{formatter.current_indent + 2}}{command}\n")


def _legend(stores: Sequence[StoreOption]) -> str:
    subjects = {option.store: option.subject for option in stores}
    return f"{', '.join(f'--{store}-… for {subject}' for store, subject in subjects.items())}."


def _store_rows(stores: Sequence[StoreOption]) -> list[Row]:
    """One row for each kind of flag, with the spellings for all stores."""
    rows = []
    for kind in dict.fromkeys(option.kind for option in stores):
        same = [option for option in stores if option.kind == kind]
        metavar = f" {same[0].metavar}" if same[0].metavar else ""
        repeatable = " Repeatable." if same[0].multiple else ""
        spellings = ", ".join(option.opts[0] for option in same)
        rows.append((f"{spellings}{metavar}", f"{same[0].help}{repeatable} [{same[0].note}]"))
    return rows
