"""A batch of a run's parts as one sorted file, with its counts in the footer: what the report is merged from.

The files are the report's memory while it is made: a call that was interrupted finds those that it has written.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from fakescan.report.rows.flags import flags_of
from fakescan.report.rows.origins import origin_cells, origin_numbers, origin_words
from fakescan.report.rows.schema import rows_schema
from fakescan.report.rows.strip import REPORTED, SPREAD, card_strips, strip_cells
from fakescan.report.rows.words import words_in
from fakescan.run.folder import RunFolder
from fakescan.run.own_words import own_words_only
from fakescan.run.part_tables import PartTable, UnreadablePart, part_tables
from fakescan.run.run_file import RunFile
from fakescan.run.stability.strip import Strip
from fakescan.run.summary.folder_counts import folders_of
from fakescan.run.summary.outcomes import ERROR, OUTCOMES, outcome_numbers
from fakescan.run.summary.row_count import band_counts
from fakescan.storage.objects import put_atomic
from fakescan.storage.store import is_local
from fakevlm.errors import ErrorCode

BATCH_ROWS = 2**15
"""Rows of a batch, about."""
CODES: Final = tuple(str(code) for code in ErrorCode)
"""Error codes in the order of their numbers, which count from 1."""
MAX_MESSAGES: Final = 1000
"""Messages of errors that are told apart in a batch."""

_CHUNK = 2048
"""Rows of a record batch: the least that is read of a file at once."""
_KEY = b"fakescan.counts"
UNSCORED = np.float32(0.5)
"""Key of a row with a verdict and no score."""


@dataclass(frozen=True)
class BatchCounts:
    """What a batch holds."""

    rows: int
    cells: Counter[str]
    """Rows by `verdict/fake`, `band/3/fake`, `word/2/fake`, `flag/0`, `format/JPEG`, `origin/captured/iptc/fake`; the
    bytes of their images, `num_bytes`, and of the rows in memory, `table_bytes`."""
    folders: list[list[Any]]
    """Name, and rows by outcome."""
    errors: list[list[Any]]
    """Code, message, rows, row id and address of the first one."""
    times: list[str]
    """When the first and the last row was judged, ISO 8601; empty for a batch without rows."""
    unreadable: list[list[Any]]
    """Name, reason and rows of parts that are not in it."""

    def to_json(self) -> str:
        """For the file's footer."""
        return json.dumps({**self.__dict__, "cells": dict(self.cells)})

    @classmethod
    def from_json(cls, text: bytes) -> "BatchCounts":
        """The inverse."""
        found = json.loads(text)
        return cls(**{**found, "cells": Counter(found["cells"])})


def batch_schema(kept: Sequence[str], strip: bool = False) -> pa.Schema:
    """The rows as the report has them, without what is only known at the end, and `key`, by which they are sorted.

    With `strip` also what the cards show of a stability strip.
    """
    names = ("folder", "thumb", "picture", "images", SPREAD)
    fields = [field for field in rows_schema(kept, REPORTED if strip else ()) if field.name not in names]
    fields += [pa.field("strip", pa.string())] if strip else []
    return pa.schema([*fields, pa.field("key", pa.float32(), nullable=False)])


@dataclass(frozen=True)
class SortParts:
    """Writes the sorted file of a batch of shards into `work`, a path in the report's file system."""

    folder: RunFolder
    run: RunFile
    target: RunFolder
    work: str
    """Name of the folder, within the report's."""

    def __call__(self, batch: tuple[int, NDArray[np.int64]]) -> int:
        """Returns the number of parts. `batch`: its number, and its shards."""
        number, shards = batch
        kept = self.run.identity.selection.keep_columns
        tables, unreadable = [], []
        for part in part_tables(self.folder, self.run, shards.tolist(), None, kept):
            if isinstance(part, PartTable):
                tables.append(own_words_only(part.table, self.run))
            else:
                unreadable.append(part)
        rows = pa.concat_tables(tables).combine_chunks() if tables else None
        data = _file_of(rows, unreadable, batch_schema(kept, self.run.strip.is_on), self.run.strip)
        put_atomic(self.target.fs, f"{self.target.path}/{self.work}/{batch_name(number)}", data)
        return len(shards)


def batch_name(number: int) -> str:
    """File name of a sorted batch."""
    return f"batch-{number:06d}.arrow"


def _file_of(rows: pa.Table | None, unreadable: list[UnreadablePart], schema: pa.Schema, strip: Strip) -> bytes:
    table = schema.empty_table() if rows is None else _sorted(rows, schema, strip)
    counts = _counts(table, unreadable)
    if rows is not None:
        counts.cells.update(strip_cells(rows, strip))
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, schema.with_metadata({_KEY: counts.to_json()}), options=options) as writer:
        writer.write_table(table.replace_schema_metadata({_KEY: counts.to_json()}), _CHUNK)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _sorted(rows: pa.Table, schema: pa.Schema, strip: Strip) -> pa.Table:
    keys = sort_keys(rows["score"], rows["error_code"])
    order = pa.array(np.argsort(keys, kind="stable"))  # rows come by their ids
    rows = rows.take(order).combine_chunks()
    columns: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    columns["sha256"] = binary_hashes(rows["sha256"])
    columns["words"] = pa.array(words_in(rows["explanation"]))
    columns["flags"] = pa.array(flags_of(rows))
    columns["origin"] = pa.array(origin_numbers(rows["provenance"]))
    columns["origin_words"] = origin_words(rows)
    if strip.is_on:
        columns["strip"] = card_strips(rows, strip)
    columns["key"] = pa.array(keys[order.to_numpy()])
    return pa.table([columns[field.name] for field in schema], schema=schema)


def sort_keys(scores: pa.ChunkedArray, codes: pa.ChunkedArray) -> NDArray[np.float32]:
    """What rows are sorted by, ascending, float32[rows]: -score, and for rows without one a number above them all."""
    known = pc.fill_null(pc.index_in(codes, pa.array(CODES)), len(CODES)).to_numpy()
    values = pc.fill_null(scores, np.nan).to_numpy().astype(np.float32)
    absent = np.where(codes.is_valid().to_numpy(), known.astype(np.float32) + 1, UNSCORED)
    keys: NDArray[np.float32] = np.where(np.isfinite(values), -values, absent).astype(np.float32)
    return keys


def binary_hashes(column: pa.ChunkedArray) -> pa.Array:
    """Hashes in hex as their 32 bytes; null where there is none."""
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    is_hash = pc.fill_null(pc.match_substring_regex(texts, "^[0-9a-f]{64}$"), False)
    data = bytes.fromhex("".join(texts.filter(is_hash).to_pylist()))
    mask = is_hash.to_numpy(zero_copy_only=False)
    size = 32
    whole = np.zeros((len(mask), size), np.uint8)
    whole[mask] = np.frombuffer(data, np.uint8).reshape(-1, size)
    validity = pa.array(mask).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(mask), [validity, pa.py_buffer(whole.tobytes())])


def _counts(table: pa.Table, unreadable: list[UnreadablePart]) -> BatchCounts:
    cells: Counter[str] = Counter()
    outcomes = outcome_numbers(table["verdict"])
    for number, outcome in enumerate(OUTCOMES):
        chosen = outcomes == number
        cells[f"verdict/{outcome}"] = int(chosen.sum())
        if number == ERROR:
            continue
        some = table.filter(pa.array(chosen))
        for band, count in enumerate(band_counts(some["score"]).tolist()):
            cells[f"band/{band}/{outcome}"] = count
        words = some["words"].to_numpy()
        for bit in range(31):
            if count := int((words >> bit & 1).sum()):
                cells[f"word/{bit}/{outcome}"] = count
    flags = table["flags"].to_numpy()
    for bit in range(31):
        if count := int((flags >> bit & 1).sum()):
            cells[f"flag/{bit}"] = count
    for item in table["format"].drop_null().value_counts().to_pylist():
        cells[f"format/{item['values']}"] = item["counts"]
    cells.update(origin_cells(table, outcomes))
    fetched = table.filter(table["sha256"].is_valid())
    cells["table_bytes"] = table.nbytes
    cells["num_bytes"] = pc.sum(fetched["num_bytes"], min_count=0).as_py()
    times = (
        [] if not table.num_rows else [time.isoformat() for time in pc.min_max(table["scanned_at"]).as_py().values()]
    )
    return BatchCounts(
        table.num_rows,
        cells,
        _folders(table, outcomes),
        _errors(table),
        times,
        [[part.name, part.reason, part.rows] for part in unreadable],
    )


def _folders(table: pa.Table, outcomes: NDArray[np.int64]) -> list[list[Any]]:
    if not table.num_rows:
        return []
    encoded = folders_of(table["uri"].combine_chunks()).dictionary_encode()
    size = len(OUTCOMES)
    cells = np.bincount(encoded.indices.to_numpy() * size + outcomes, minlength=len(encoded.dictionary) * size)
    counts = cells.reshape(-1, size).tolist()
    return [[name, *numbers] for name, numbers in zip(encoded.dictionary.to_pylist(), counts, strict=True)]


def _errors(table: pa.Table) -> list[list[Any]]:
    """By code and message, most rows first; of too many messages those with the fewest rows are counted as one."""
    failed = table.filter(table["error_code"].is_valid()).select(["error_code", "error_message", "row_id", "uri"])
    if not failed.num_rows:
        return []
    groups = failed.group_by(["error_code", "error_message"], use_threads=False).aggregate(
        [("row_id", "count"), ("row_id", "min")]
    )
    found = groups.sort_by([("row_id_count", "descending"), ("row_id_min", "ascending")]).to_pylist()
    firsts = failed.filter(pc.is_in(failed["row_id"], groups["row_id_min"]))
    uris = dict(zip(firsts["row_id"].to_pylist(), firsts["uri"].to_pylist(), strict=True))
    return [
        [item["error_code"], item["error_message"] if place < MAX_MESSAGES else None, item["row_id_count"],
         item["row_id_min"], uris[item["row_id_min"]]]
        for place, item in enumerate(found)
    ]  # fmt: skip


class BatchFile:
    """Reads a sorted batch."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self._source: Any = open(path, "rb") if is_local(fs) else fs.open(path, "rb", block_size=2**20)  # noqa: SIM115

    def __enter__(self) -> "BatchFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def counts(self) -> BatchCounts:
        """Its counts, from the footer."""
        with pa.ipc.open_file(self._source) as file:
            return BatchCounts.from_json(file.schema.metadata[_KEY])

    def columns(self, *names: str) -> pa.Table:
        """Whole columns."""
        with pa.ipc.open_file(self._source) as file:
            places = [file.schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=places, use_threads=False)
        with pa.ipc.open_file(self._source, options=options) as file:
            table = file.read_all()
        return table.select(list(names)).replace_schema_metadata(None)

    def rows(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        """The rows from `first` to just below `last`."""
        with pa.ipc.open_file(self._source, options=pa.ipc.IpcReadOptions(use_threads=False)) as file:
            for chunk in range(first // _CHUNK, -(-last // _CHUNK)):
                batch = file.get_batch(chunk)
                start = chunk * _CHUNK
                begin, end = max(first - start, 0), min(last - start, batch.num_rows)
                yield batch.slice(begin, end - begin)
