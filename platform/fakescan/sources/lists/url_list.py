"""Lists of images that the user brings, in any format, with relative addresses counted from the list."""

import itertools
from collections.abc import Iterator

import pyarrow as pa

from fakescan.sources.address_column import names_columns
from fakescan.sources.addresses import AddressEntries
from fakescan.sources.kept_columns import no_columns
from fakescan.sources.lists.csv_list import csv_entries
from fakescan.sources.lists.json_list import MAX_DOCUMENT, json_entries
from fakescan.sources.lists.list_text import COMPRESSIONS, MAX_LINE, Lines, list_lines, open_text
from fakescan.sources.lists.parquet_list import parquet_list_entries
from fakescan.sources.reading import Reading
from fakescan.storage.url import redact, scheme_of

_BLANK = " \t\r\n\v\f\ufeff"
"""Around an address; U+FEFF where lists were joined that each begin with it."""

_FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")

LIST_EXTENSIONS = tuple(name + packed for name in _FORMATS for packed in ("", *COMPRESSIONS))
"""File names that are lists of images without a look inside, for `str.endswith` in lower case."""


def read_url_list(url: str, reading: Reading) -> Iterator[pa.Table]:
    """The entries in the order of the file, as tables of `ENTRY_SCHEMA`, streamed.

    Every record is counted as seen, and what becomes no entry by its reason. Sizes and etags are believed of our own
    manifest only, sizes also of `reading.size_column`. Raises `UserError` for a file without a column of addresses, and
    for damage unless that is left out.
    """
    kind = _format(url)
    entries = AddressEntries(url, "row" if kind == ".parquet" else "line", reading)
    if kind == ".parquet":
        yield from parquet_list_entries(url, entries, reading)
    else:
        with open_text(url, reading.store) as chunks:
            lines = list_lines(chunks, redact(url), reading, MAX_DOCUMENT if kind == ".json" else MAX_LINE)
            if kind == ".txt":
                kind, lines = _format_inside(lines, entries, reading)
            if kind in (".csv", ".tsv"):
                yield from csv_entries(lines, entries, reading, tabs=kind == ".tsv")
            elif kind in (".jsonl", ".ndjson", ".json"):
                yield from json_entries(lines, entries, reading, by_line=kind != ".json")
            elif reading.keep_columns:
                raise no_columns(f"{entries.name} is read as one address on each line (as a table with --column)")
            else:
                yield from _text_entries(lines, entries)
    entries.close()


def _format(url: str) -> str:
    name = (url.partition("?")[0] if scheme_of(url) == "http" else url).lower()
    for packed in COMPRESSIONS:
        name = name.removesuffix(packed)
    return next((kind for kind in (*_FORMATS, ".parquet") if name.endswith(kind)), ".txt")


def _format_inside(lines: Lines, entries: AddressEntries, reading: Reading) -> tuple[str, Lines]:
    """What a text is: by its first line, or as `--column` says that it has columns; and its lines."""
    number, batch = next(lines, (1, []))
    first = next((text for line in batch if (text := line.strip()) and text[0] != "#"), "")
    kind = ".txt"
    if reading.column is not None or names_columns(first):
        kind = ".csv"
    if first.startswith("{") and first.endswith("}"):
        kind = ".jsonl"
    if kind != ".txt" and reading.column is None:
        reading.note(f"{entries.name} is read as a {kind} list, which its first line looks like")
    return kind, itertools.chain([(number, batch)], lines)


def _text_entries(lines: Lines, entries: AddressEntries) -> Iterator[pa.Table]:
    """One address on each line; empty lines and those that begin with # are none."""
    for first, batch in lines:
        kept = [
            (number, text)
            for number, line in enumerate(batch, first)
            if (text := line.strip(_BLANK)) and text[0] != "#"
        ]
        yield entries.of([text for _, text in kept], [number for number, _ in kept])
