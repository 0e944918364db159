"""Tables on standard output."""

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fakescan.terminal.console import console_on

_WIDE = 240


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
