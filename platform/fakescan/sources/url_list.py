"""Lists of images that the user brings: Parquet, CSV, JSON lines or plain text with one URI per line."""

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from fakescan.sources.manifest import ENTRY_SCHEMA, conform
from fakescan.sources.parquet import open_parquet
from fakescan.sources.reading import Reading
from fakescan.storage.errors import classify
from fakescan.storage.store import Store
from fakescan.storage.url import redact, scheme_of
from fakevlm.errors import UserError

URI_COLUMNS = ("uri", "url", "path", "image_url", "image_uri", "image_path", "file", "file_name", "filename", "image")
"""Names under which the images' addresses are looked for, in this order."""

LIST_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
"""File names that are lists of images without a look inside."""

_BATCH = 65_536
_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*://"


def uri_column(names: list[str], column: str | None = None) -> str | None:
    """The column that holds the addresses, whatever its case; None if there is none."""
    by_name = {name.lower(): name for name in reversed(names)}
    return next((by_name[name] for name in URI_COLUMNS if name in by_name), None)


def read_url_list(url: str, reading: Reading) -> Iterator[pa.Table]:
    """The entries in the order of the file, as tables of `ENTRY_SCHEMA`, streamed.

    Columns `size` (bytes) and `etag` are taken over where there are any. Relative paths are relative to the manifest.
    Raises `UserError` for a file without a column of addresses.
    """
    kind = url.lower().partition("?")[0].rpartition(".")[2]
    reader = {"parquet": _parquet, "csv": _csv, "tsv": _csv, "jsonl": _json_lines, "ndjson": _json_lines}.get(
        kind, _text
    )
    base = _folder(url)
    try:
        for table in reader(url, reading.store):
            yield _absolute(table, base)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{redact(url)} cannot be read as a {kind} list: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise UserError(f"cannot read {redact(url)}: {classify(error)[1]}") from None


def _folder(url: str) -> str:
    path = url.partition("?")[0] if scheme_of(url) == "http" else url
    return path.rpartition("/")[0] + "/" if "/" in path else "./"


def _open(url: str, store: Store) -> Any:
    filesystem, path = store.filesystem(url)
    if scheme_of(url) == "http":  # lists are read whole: many servers neither tell sizes nor serve ranges
        return io.BytesIO(filesystem.cat_file(path))
    return filesystem.open(path, "rb", block_size=2**22)


def _select(table: pa.Table | pa.RecordBatch, url: str) -> pa.Table:
    """The columns that matter, under their own names."""
    names = list(table.schema.names)
    column = uri_column(names)
    if column is None:
        raise UserError(
            f"{redact(url)} has no column of addresses: name one {' or '.join(URI_COLUMNS[:3])}, not {names}"
        )
    taken = {"uri": column, **{name: name for name in _kept(names)}}
    return pa.table({name: table.column(source) for name, source in taken.items()})


def _kept(names: list[str]) -> list[str]:
    """The other columns to take over: what is known of the object, and a manifest's place within a container."""
    contained = {"row_id", *ENTRY_SCHEMA.names} <= set(names)
    return [name for name in (("size", "etag", "object", "offset") if contained else ("size", "etag")) if name in names]


def _parquet(url: str, store: Store) -> Iterator[pa.Table]:
    with open_parquet(url, store) as file:
        names = file.schema_arrow.names
        columns = [name for name in names if name in (uri_column(names), "row_id") or name in _kept(names)]
        for batch in file.iter_batches(_BATCH, columns=columns):
            yield _select(batch, url)


def _csv(url: str, store: Store) -> Iterator[pa.Table]:
    delimiter = "\t" if url.lower().partition("?")[0].endswith(".tsv") else ","
    options = pcsv.ConvertOptions(column_types={"etag": pa.string(), **dict.fromkeys(URI_COLUMNS, pa.string())})
    with _open(url, store) as file:
        parse = pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        for batch in pcsv.open_csv(file, convert_options=options, parse_options=parse):
            yield _select(batch, url)


def _json_lines(url: str, store: Store) -> Iterator[pa.Table]:
    for lines in _lines(url, store):
        rows = []
        for number, line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                raise UserError(f"{redact(url)} line {number} is not JSON") from None
            column = uri_column(list(row)) if isinstance(row, dict) else None
            if column is None or not isinstance(row[column], str):
                raise UserError(f"{redact(url)} line {number} has no address: name it {' or '.join(URI_COLUMNS[:3])}")
            size, etag = row.get("size"), row.get("etag")
            rows.append((row[column], size if isinstance(size, int) else None, etag if isinstance(etag, str) else None))
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        yield pa.table(
            {
                name: pa.array(values, ENTRY_SCHEMA.field(name).type)
                for name, values in zip(("uri", "size", "etag"), columns, strict=True)
            }
        )


def _text(url: str, store: Store) -> Iterator[pa.Table]:
    for lines in _lines(url, store):
        yield pa.table({"uri": pa.array([line for _, line in lines if not line.startswith("#")], pa.string())})


def _lines(url: str, store: Store) -> Iterator[list[tuple[int, str]]]:
    """Batches of line number and text, without empty lines and blank ends."""
    with _open(url, store) as file:
        numbered = enumerate(io.TextIOWrapper(file, encoding="utf-8-sig"), 1)
        while batch := list(itertools.islice(numbered, _BATCH)):
            yield [(number, text) for number, line in batch if (text := line.strip())]


def _absolute(table: pa.Table, base: str) -> pa.Table:
    """In `ENTRY_SCHEMA`: relative paths joined to the manifest's folder, empty addresses dropped, etags unquoted."""
    table = conform(table)
    uris = pc.utf8_trim_whitespace(pc.fill_null(table["uri"], ""))
    relative = pc.invert(pc.match_substring_regex(uris, _SCHEME + "|^/"))
    plain = pc.replace_substring_regex(uris, r"^(\./)+", "")
    joined = pc.if_else(relative, pc.binary_join_element_wise(pa.scalar(base), plain, ""), uris)
    etags = pc.replace_substring_regex(table["etag"], r'^(W/)?"(.*)"$', r"\1\2")
    table = table.set_column(0, ENTRY_SCHEMA.field("uri"), joined)
    table = table.set_column(2, ENTRY_SCHEMA.field("etag"), etags)
    return table.filter(pc.not_equal(uris, ""))
