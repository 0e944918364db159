"""Tables on standard output."""

import sys
from collections.abc import Collection, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fakescan.terminal.console import console_on

_WIDE = 240
_GAP = 2
"""Spaces between two columns in a narrow window."""
_NAMES = 24
"""Letters of a name that are not broken."""


class Column(NamedTuple):
    """A column and its cells, from the top."""

    name: str
    cells: Sequence[str]
    short: Sequence[str] | None = None
    """The same with less in them, for a narrow window."""
    lost: str = ""
    """What `short` does not say."""


def wide_console() -> Console:
    """A console on standard output, so wide that nothing is wrapped or cut where no window limits it."""
    console = console_on(sys.stdout)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def text_table(console: Console, *columns: str) -> Table:
    """A table of text; without lines where a program reads it."""
    return Table(*columns, box=SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)


def number_table(console: Console, title: str, first: str, *numbers: str) -> Table:
    """A table whose first column holds names and whose others hold numbers.

    Its title is printed at once: within the table it would be broken to the table's width.
    """
    console.print(title, style="italic", soft_wrap=True)
    table = text_table(console, first)
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def print_fitting(
    console: Console,
    title: str,
    names: Column,
    numbers: Sequence[Column],
    spare: Sequence[str],
    ends: Collection[int] = (),
) -> None:
    """Print a table whose numbers are whole in any window, with a line after each of the rows `ends`.

    In a window too narrow for all of it, names are shortened and columns are shortened or left out: those named in
    `spare`, from its first on, one that can be shortened at its first turn and left out at its second. Lines say so.
    """
    kept, gone = list(numbers), list[str]()
    is_narrow = console.is_terminal and _width(names, kept, 3) > console.width
    explained = ""
    if is_narrow and names.short is not None:
        names, explained = Column(names.name, names.short), names.lost
    for name in spare if is_narrow else ():
        if _width(names, kept, _GAP) <= console.width:
            break
        at = next(number for number, column in enumerate(kept) if column.name == name)
        column = kept.pop(at)
        if column.short is not None:
            kept.insert(at, Column(name, column.short))
        gone.append(column.lost if column.short is not None else name)
    console.print(title, style="italic", soft_wrap=True)
    table = text_table(console)
    table.collapse_padding = is_narrow
    table.add_column(names.name, overflow="fold")
    for column in kept:
        table.add_column(column.name, justify="right", no_wrap=True)
    for row, name in enumerate(names.cells):
        table.add_row(name, *(column.cells[row] for column in kept), end_section=row in ends)
    console.print(table)
    if explained:
        console.print(explained, soft_wrap=True)
    if gone:
        console.print(f"left out in a window of {console.width} columns: {', '.join(gone)}", soft_wrap=True)


def _width(names: Column, numbers: Sequence[Column], gap: int) -> int:
    """Columns of a terminal that a table takes, with so many spaces between its own."""
    widths = [max(map(len, (column.name, *column.cells))) for column in numbers]
    return min(_NAMES, max(map(len, (names.name, *names.cells)))) + sum(widths) + gap * len(widths) + 2
