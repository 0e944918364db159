"""The images inside Parquet files as manifest entries, one for each row or for each image of a list."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fakescan.sources.addresses import AddressEntries
from fakescan.sources.containers.image_column import ImageColumn, image_column
from fakescan.sources.containers.kept_fields import KeptFields
from fakescan.sources.containers.parquet import DamagedParquetError, ParquetReader, child, flat_indices
from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.url import redact
from fakevlm.errors import UserError

Ints = npt.NDArray[np.int64]

_TABLE_ROWS = 65_536
_BYTES_ROWS = 32
_PATH_ROWS = 4_096


def parquet_entries(files: Iterable[pa.Table], reading: Reading) -> Iterator[pa.Table]:
    """One entry per image of every file, called `FILE#row=N` or `FILE#row=N&image=K`, in tables of `ENTRY_SCHEMA`.

    Where a struct has a path and no bytes, the path is followed, from the file's folder; one that leads to another
    kind of store only if the column was named. Footers and kept columns alone are read, except of lists and where bytes
    are missing.
    """
    for table in files:
        for uri, etag in zip(table["uri"].to_pylist(), table["etag"].to_pylist(), strict=True):
            try:
                with ParquetReader(uri, reading.store, stream=True) as reader:
                    yield from _File(reader, etag, reading).entries()
            except DamagedParquetError as error:
                reading.damaged(redact(uri), str(error))


class _File:
    """One file on its way into entries."""

    def __init__(self, reader: ParquetReader, etag: str | None, reading: Reading) -> None:
        self.reader, self.uri, self.etag, self.reading = reader, reader.uri, etag, reading
        column = image_column(reader.schema, reading.column)
        if column is None:
            raise UserError(f"{redact(self.uri)} has no column of images: its columns are {reader.schema.names}")
        self.column: ImageColumn = column
        self.leaf, self.path_leaf = reader.image_leaves(column)
        self.addresses = AddressEntries(self.uri, "row", reading, stay=reading.column is None)
        self.kept = KeptFields(reader, reading.keep_columns, self.addresses.name)

    def entries(self) -> Iterator[pa.Table]:
        """The tables of all row groups."""
        slots = self.reader.slots(self.column)
        first_row = first_slot = 0
        for group, rows in enumerate(self.reader.group_rows):
            try:
                yield from self._group(group, first_row, first_slot)
            except DamagedParquetError as error:
                self.reading.damaged(f"{redact(self.uri)} rows {first_row} to {first_row + rows - 1}", str(error), rows)
            first_row, first_slot = first_row + rows, first_slot + slots[group]

    def _group(self, group: int, first_row: int, first_slot: int) -> Iterator[pa.Table]:
        rows = self.reader.group_rows[group]
        numbers, images, slots = np.arange(first_row, first_row + rows), None, np.arange(first_slot, first_slot + rows)
        empty = 0
        if self.column.in_list:
            lengths = self.reader.list_lengths(self.column, group)
            _check(len(lengths) == rows)
            empty = int((lengths == 0).sum())
            numbers = np.repeat(numbers, lengths)
            images = np.concatenate([np.arange(length) for length in lengths.tolist()] or [np.zeros(0, np.int64)])
            slots = first_slot + np.flatnonzero(flat_indices(lengths) >= 0)
        paths, missing = self._paths(group, len(numbers), empty)
        kept = self._kept(group, first_row) if self.kept.names else None
        if empty:  # counted only now that nothing of the group can be damaged any more
            place = f"{redact(self.uri)} row {first_row + int(np.argmin(lengths))}"
            self.reading.left_out.seen += empty
            self.reading.left_out.add(LeftOutReason.NO_IMAGE, place, empty)
        inside = np.ones(len(numbers), bool)
        if missing is not None:
            inside = np.array([not (gone and path) for gone, path in zip(missing, paths, strict=True)], bool)
        for start in range(0, len(numbers), _TABLE_ROWS):
            chosen = np.flatnonzero(inside[start : start + _TABLE_ROWS]) + start
            values = kept.take(numbers[chosen] - first_row) if kept is not None else None
            yield self._inside(numbers[chosen], None if images is None else images[chosen], slots[chosen], values)
            followed = np.flatnonzero(~inside[start : start + _TABLE_ROWS]) + start
            if len(followed):
                values = kept.take(numbers[followed] - first_row) if kept is not None else None
                yield self.addresses.of([paths[index] for index in followed], numbers[followed].tolist(), kept=values)

    def _kept(self, group: int, first_row: int) -> pa.ChunkedArray:
        """The kept values of each row of a row group."""
        arrays: list[pa.Array] = []
        row = first_row
        for texts in self.kept.of_group(group):
            arrays.append(self.addresses.kept(texts, range(row, row + len(texts))))
            row += len(texts)
        _check(row == first_row + self.reader.group_rows[group])
        return pa.chunked_array(arrays, pa.string())

    def _inside(self, rows: Ints, images: Ints | None, slots: Ints, kept: pa.ChunkedArray | None) -> pa.Table:
        count = len(rows)
        self.reading.left_out.seen += count
        if images is None:
            before, after = self.column.fragment(0).split("0", 1)
            uris = [f"{self.uri}{before}{row}{after}" for row in rows.tolist()]
        else:
            pairs = zip(rows.tolist(), images.tolist(), strict=True)
            uris = [self.uri + self.column.fragment(row, image) for row, image in pairs]
        columns = [
            pa.array(uris, pa.string()),
            pa.nulls(count, pa.int64()),
            pa.array([self.etag] * count, pa.string()),
            pa.array([self.uri] * count, pa.string()),
            pa.array(slots, pa.int64()),
            pa.nulls(count, pa.string()) if kept is None else kept,
        ]
        return pa.table(columns, schema=ENTRY_SCHEMA)

    def _paths(self, group: int, count: int, empty: int) -> tuple[Sequence[object], Sequence[bool] | None]:
        """Paths of the images and which have no bytes; the latter None when none lacks them or no path is known."""
        if self.path_leaf is None or not count:
            return [], None
        statistics = self.reader.column_chunk(self.leaf, group).statistics
        nulls = statistics.null_count - empty if statistics is not None and statistics.has_null_count else None
        if nulls == 0:
            return [], None
        paths = self._flat(self.path_leaf, group, _PATH_ROWS, "path")
        if not any(paths):
            return [], None
        missing = [True] * count if nulls == count else self._missing(group)
        _check(len(paths) == len(missing) == count)
        return paths, missing

    def _missing(self, group: int) -> list[bool]:
        return [
            gone
            for array in self._arrays(self.leaf, group, _BYTES_ROWS, "bytes")
            for gone in array.is_null().to_pylist()
        ]

    def _flat(self, leaf: str, group: int, rows: int, name: str) -> list[object]:
        return [value for array in self._arrays(leaf, group, rows, name) for value in _texts(array)]

    def _arrays(self, leaf: str, group: int, rows: int, name: str) -> Iterator[pa.Array]:
        for array in self.reader.batches(leaf, self.column.steps, group, rows):
            yield child(array.flatten() if self.column.in_list else array, name)


def _check(agrees: bool) -> None:
    if not agrees:
        raise DamagedParquetError("holds columns that differ in their number of rows")


def _texts(array: pa.Array) -> list[object]:
    """The values as text, as bytes where they are not UTF-8."""
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return list(array.cast(pa.large_binary()).to_pylist())
