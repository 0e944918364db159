"""Records between delimiters: every one counted, and a quote that is out of place named by the line where it opens."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fakescan.sources.address_column import is_image_address
from fakescan.sources.lists.list_text import MAX_LINE, Lines

Cells = list[str]

_UNFINISHED = "unexpected end of data"
_END = "\0"


class Records(NamedTuple):
    """Records, each with the number of its first line."""

    cells: list[Cells]
    numbers: Sequence[int]


@dataclass(frozen=True)
class Dialect:
    """How a record is cut into cells. Without a `quote` quotes are letters, as in most files between tabs."""

    delimiter: str
    quote: str | None

    def reader(self, lines: Iterator[str] | list[str], *, strict: bool = True) -> Any:
        """Python's reader of these lines."""
        if self.quote:
            return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=strict)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)


class RecordParser:
    """Cuts lines into records of `width` cells, of which those at `addresses` may be addresses.

    `damaged` is told the number of a line and what is wrong with it.
    After damage it goes on with the next line, so that a quote costs its own record only.
    """

    def __init__(
        self, dialect: Dialect, width: int, addresses: Sequence[int], damaged: Callable[[int, str], None]
    ) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
        self.dialect, self.width, self.addresses, self.damaged = dialect, width, addresses, damaged

    def records(self, lines: Lines) -> Iterator[Records]:
        """The records of all lines, in batches; they may have any number of cells, empty lines have none."""
        waiting: list[str] = []
        first, enough = 1, 0
        for number, batch in lines:
            first = number if not waiting else first
            waiting += batch
            if len(waiting) >= enough:
                records, waiting, first = self._cut(waiting, first, last=False)
                enough = 2 * len(waiting)  # a long record is not begun anew with every batch
                yield records
        if waiting:
            yield self._cut(waiting, first, last=True)[0]

    def _cut(self, lines: list[str], first: int, *, last: bool) -> tuple[Records, list[str], int]:
        """Records, the lines of one that goes on behind them, and the number of the first of those lines."""
        try:
            cells = list(self.dialect.reader(lines))
        except csv.Error:
            cells = []
        if len(cells) == len(lines):  # no record has more than its line
            return Records(cells, range(first, first + len(lines))), [], first + len(lines)
        return self._cut_with_care(lines, first, last=last)

    def _cut_with_care(self, lines: list[str], first: int, *, last: bool) -> tuple[Records, list[str], int]:
        records: list[Cells] = []
        numbers: list[int] = []
        start = begun = 0
        reader = self.dialect.reader(_from(lines, start))
        while start < len(lines):
            fault = None
            try:
                record = next(reader)
            except csv.Error as error:
                if str(error) == _UNFINISHED and not last and sum(map(len, lines[start:])) <= MAX_LINE:
                    return Records(records, numbers), lines[start:], first + start
                alone = self._alone(lines[start])
                record = alone or []
                fault = None if alone else _fault(str(error))
                end = start + 1
                reader, begun = self.dialect.reader(_from(lines, end)), end
            else:
                end = begun + reader.line_num
                if end - start > 1 and self._swallows(lines[start:end]):
                    fault, end = "opens a quote that swallows the lines after it", start + 1
                    reader, begun = self.dialect.reader(_from(lines, end)), end
            if fault is None:
                records.append(record)
                numbers.append(first + start)
            else:
                self.damaged(first + start, fault)
            start = end
        return Records(records, numbers), [], first + len(lines)

    def _alone(self, line: str) -> Cells | None:
        """The cells of a line with quotes inside quotes, if there is one reading of it that fits the header."""
        escaped = line.replace(f"\\{self.dialect.quote}", 2 * (self.dialect.quote or ""))  # as Spark and R write them
        for text, strict in ((escaped, True), (line, False)):
            try:
                records: list[Cells] = list(self.dialect.reader([text, _END], strict=strict))
            except csv.Error:
                continue
            if len(records) == 2 and records[1] == [_END] and len(records[0]) == self.width:
                return records[0]
        return None

    def _swallows(self, lines: list[str]) -> bool:
        """Whether a record of several lines looks like several records: addresses in one place of its lines.

        Text of several lines is common, text whose lines have as many cells as the header and an address where the
        first line has one is not.
        """
        first = self._plain(lines[0])
        if len(first) != self.width:
            return False
        for line in lines[1:]:
            cells = self._plain(line)
            if len(cells) == self.width and any(_are_addresses(first[at], cells[at]) for at in self.addresses):
                return True
        return False

    def _plain(self, line: str) -> Cells:
        return [cell.strip().strip(self.dialect.quote) for cell in line.split(self.dialect.delimiter)]


def _from(lines: list[str], start: int) -> Iterator[str]:
    for index in range(start, len(lines)):
        yield lines[index]


def _fault(error: str) -> str:
    if error == _UNFINISHED:
        return "opens a quote that is not closed"
    if "field limit" in error:
        return f"opens a quote that is not closed within {MAX_LINE} characters"
    return "has a quote in the wrong place or opens one that is not closed"


def _are_addresses(one: str, other: str) -> bool:
    """Whether two cells look like addresses of images, in the same folder unless they say so themselves."""
    if not one or not other or any(map(str.isspace, one + other)):
        return False
    if all("://" in cell or is_image_address(cell) for cell in (one, other)):
        return True
    folder = one.rpartition("/")[0]
    return bool(folder) and folder == other.rpartition("/")[0]
