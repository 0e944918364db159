"""Consoles on the standard streams: what is a terminal, what colours mean, and how text is wrapped to the width."""

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.text import Text
from rich.theme import Theme

THEME = Theme(
    {"real": "green", "fake": "magenta", "uncertain": "cyan", "error": "red", "warning": "yellow", "command": "bold"}
)
"""Colours by meaning. Each is only ever on a word that says the same."""

_displays: list[Console] = []
"""The consoles of the displays that are shown just now, the last one on top."""


class _StreamConsole(Console):
    """Is as wide as the terminal that it writes to, whatever the process's other streams are."""

    @property  # type: ignore[misc]
    def size(self) -> ConsoleDimensions:
        """Columns and rows."""
        if self._width is None and self.is_terminal:
            with suppress(OSError, ValueError):
                columns, rows = os.get_terminal_size(self.file.fileno())
                if columns and rows:
                    return ConsoleDimensions(columns, rows)
        return super().size


def console_on(stream: TextIO) -> Console:
    """A console that writes to `stream`: with colours on a terminal unless NO_COLOR is set, without any elsewhere."""
    is_terminal = stream.isatty()
    has_colours = is_terminal and not os.environ.get("NO_COLOR")
    return _StreamConsole(
        file=stream,
        theme=THEME,
        force_terminal=is_terminal,  # variables that other programs listen to, such as FORCE_COLOR, do not make one
        color_system="auto" if has_colours else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def stderr_console() -> Console:
    """The console of the display that is shown just now, above which it prints; else one on stderr."""
    return _displays[-1] if _displays else console_on(sys.stderr)


def show_display(console: Console) -> None:
    """Messages go through this console from now on."""
    _displays.append(console)


def hide_display(console: Console) -> None:
    """The opposite of `show_display`."""
    _displays.remove(console)


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would obey, as names of files may hold; line breaks are kept."""
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def printable_line(text: str) -> str:
    """The same with line breaks escaped as well."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def wrapped(text: Text, width: int, first_width: int | None = None) -> list[Text]:
    """The text in lines of at most `width` cells, broken between words; a longer word, such as a URL, stays whole.

    `first_width`: of the first line, where it differs.
    """
    breaks: list[int] = []
    used, room = 0, width if first_width is None else first_width
    for word in re.finditer(r"\s*\S+", text.plain):
        size = cell_len(word.group())
        if used and used + size > room:
            breaks.append(word.start())
            size, used, room = cell_len(word.group().lstrip()), 0, width
        used += size
    first, *others = text.divide(breaks)
    return [first, *(line[len(line.plain) - len(line.plain.lstrip()) :] for line in others)]


def print_hanging(
    console: Console, label: str, text: Text | str, *, style: str = "", indent: int | None = None
) -> None:
    """Print `label` and then the text: on a terminal wrapped, its further lines indented; elsewhere as it is.

    `style` is the label's; `indent` counts cells, by default those of the label.
    """
    body = Text(printable(text)) if isinstance(text, str) else text
    label_cells = cell_len(label)
    indent = label_cells if indent is None else indent
    lines: list[Text] = []
    for line in body.split("\n"):
        room = console.width - (indent if lines else label_cells)
        parts = wrapped(line, console.width - indent, room) if console.is_terminal else [line]
        lines += parts
    before = [Text(label, style), *(Text(" " * indent) for _ in lines[1:])]
    whole = Text("\n").join(Text.assemble(start, line) for start, line in zip(before, lines, strict=True))
    console.print(whole, soft_wrap=True)
