"""Lists with a header and cells between delimiters."""

import csv
import itertools
import re
from collections.abc import Iterator

import pyarrow as pa

from fakescan.sources.address_column import SAMPLE_ROWS, choose_column, name_rank, shown
from fakescan.sources.addresses import AddressEntries
from fakescan.sources.kept_columns import find_columns, kept_texts
from fakescan.sources.lists.csv_records import Cells, Dialect, RecordParser, Records
from fakescan.sources.lists.list_text import Lines
from fakescan.sources.reading import LeftOutReason, Reading
from fakevlm.errors import UserError

_DELIMITERS = (",", "\t", ";", "|")
_SEPARATOR_LINE = re.compile(r'^"?sep=."?$', re.IGNORECASE)


def csv_entries(lines: Lines, entries: AddressEntries, reading: Reading, *, tabs: bool = False) -> Iterator[pa.Table]:
    """The entries of a list whose first line names the columns. `tabs`: the file's name says that it has tabs.

    The delimiter is the one that the header is written with. A record with more or fewer cells than the header is
    counted; a quote that is not closed is refused with its line, or counted where damage is left out.
    """
    lines = iter(lines)
    head = _header(lines, reading.column, tabs)
    if head is None:
        return
    dialect, names, lines = head
    likely = [at for at, name in enumerate(names) if name == reading.column or name_rank(name) is not None]
    parser = RecordParser(
        dialect, len(names), likely, lambda number, fault: reading.damaged(entries.place(number), fault)
    )
    records = parser.records(lines)
    first = next(records, Records([], []))
    sample = first.cells[:SAMPLE_ROWS]
    samples = [[cells[index] for cells in sample if index < len(cells)] for index in range(len(names))]
    column = choose_column(names, samples, entries.name, reading)
    size_column = _index(names, reading.size_column, entries.name)
    kept_columns = find_columns(reading.keep_columns, names, entries.name)
    for batch in itertools.chain([first], records):
        cells, numbers = _regular(batch, len(names), entries, reading)
        values = [record[column] for record in cells]
        if dialect.quote is None:
            values = [_unquoted(value) for value in values]
        sizes = None if size_column is None else [record[size_column] for record in cells]
        kept = None
        if kept_columns:
            texts = [[record[index] for record in cells] for index in kept_columns]
            kept = entries.kept(kept_texts(reading.keep_columns, texts), numbers)
        yield entries.of(values, numbers, sizes, kept=kept)


def _header(lines: Lines, column: str | None, tabs: bool) -> tuple[Dialect, list[str], Lines] | None:
    """How the list is written, the names of its columns, and the lines behind the header; None for an empty list."""
    for number, batch in lines:
        for index, line in enumerate(batch):
            text = line.strip("\r\n")
            if text.strip() and not _SEPARATOR_LINE.match(text):  # Excel's own first line
                dialect, names = _dialect(text, column, tabs)
                rest = batch[index + 1 :]
                names = _with_row_names(names, rest[:SAMPLE_ROWS], dialect)
                return dialect, names, itertools.chain([(number + index + 1, rest)], lines)
    return None


def _dialect(header: str, column: str | None, tabs: bool) -> tuple[Dialect, list[str]]:
    """The delimiter that gives a column whose name is known, and of those the most columns."""
    choices: list[tuple[bool, int, str, list[str]]] = []
    single = header.strip()[0] == header.strip()[-1] == "'"
    for delimiter in sorted(_DELIMITERS, key=lambda delimiter: (delimiter == "\t") != tabs):
        cells = next(csv.reader([header], delimiter=delimiter, quotechar="'" if single else '"'), [])
        names = [name.strip() for name in cells]
        known = any(name_rank(name) is not None if column is None else name == column for name in names)
        choices.append((known, len(names), delimiter, names))
    _, _, delimiter, names = max(choices, key=lambda choice: choice[:2])
    written = [cell.strip() for cell in header.split(delimiter)]
    for quote in ('"', "'"):
        if all(len(cell) > 1 and cell[0] == cell[-1] == quote for cell in written):
            return Dialect(delimiter, quote), names
    return Dialect(delimiter, None if delimiter == "\t" else '"'), names


def _with_row_names(names: list[str], lines: list[str], dialect: Dialect) -> list[str]:
    """The names, after an empty one where R has written row names in front, which its headers do not name."""
    if dialect != Dialect("\t", '"') or len(names) < 2:
        return names
    widths = [len(cells) for cells in dialect.reader(lines, strict=False) if cells]
    return ["", *names] if 2 * widths.count(len(names) + 1) > len(widths) else names


def _index(names: list[str], column: str | None, list_name: str) -> int | None:
    if column is not None and column not in names:
        raise UserError(f"{list_name} has no column {column!r}: its columns are {shown(names)}")
    return None if column is None else names.index(column)


def _regular(batch: Records, width: int, entries: AddressEntries, reading: Reading) -> Records:
    """The records with as many cells as the header; the others are counted, but for empty lines."""
    if set(map(len, batch.cells)) == {width}:
        return batch
    records: list[Cells] = []
    numbers: list[int] = []
    for cells, number in zip(batch.cells, batch.numbers, strict=True):
        if not cells or (len(cells) == 1 < width and not cells[0].strip()):
            continue
        fitting = _fitting(cells, width)
        if fitting is None:
            reading.left_out.seen += 1
            reading.left_out.add(LeftOutReason.CELLS, entries.place(number))
        else:
            records.append(fitting)
            numbers.append(number)
    return Records(records, numbers)


def _fitting(cells: Cells, width: int) -> Cells | None:
    """The cells without empty ones at the end; in a list of one column, the address that its commas have cut."""
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    if width == 1 and len(cells) > 1:
        cells = [",".join(cells)]
    return cells if len(cells) == width else None


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 2 and value[0] == value[-1] == '"' else value
