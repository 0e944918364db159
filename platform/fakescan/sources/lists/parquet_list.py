"""Parquet files whose rows name images: one column holds their addresses."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from fakescan.sources.address_column import SAMPLE_ROWS, are_addresses, choose_column, name_rank, shown
from fakescan.sources.addresses import AddressEntries
from fakescan.sources.containers.image_column import find_field, is_bytes, is_text
from fakescan.sources.containers.kept_fields import ROWS, KeptFields
from fakescan.sources.containers.parquet import DamagedParquetError, ParquetReader, together
from fakescan.sources.kept_columns import columns_of, find_columns, kept_again
from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.reading import Reading
from fakescan.storage.url import redact
from fakevlm.errors import UserError

_BATCH_ROWS = 65_536
_BATCH_BYTES = 2**26
_OWN_COLUMNS = ("size", "etag", "object", "offset")


def parquet_list_entries(url: str, entries: AddressEntries, reading: Reading) -> Iterator[pa.Table]:
    """The entries of a Parquet file. Sizes and places in containers are believed of our own manifest only."""
    try:
        with ParquetReader(url, reading.store) as reader:
            yield from _File(reader, entries, reading).entries()
    except DamagedParquetError as error:
        reading.damaged(redact(url), str(error))


class _File:
    """One file on its way into entries."""

    def __init__(self, reader: ParquetReader, entries: AddressEntries, reading: Reading) -> None:
        self.reader, self.addresses, self.reading = reader, entries, reading
        self.fields = _text_fields(list(reader.schema))
        self.is_own = _is_own(reader.schema) and reading.column in (None, "uri")
        # A manifest keeps its columns in one of its own, from which they are kept again.
        self.kept = KeptFields(reader, () if self.is_own else reading.keep_columns, entries.name)

    def entries(self) -> Iterator[pa.Table]:
        """The tables of all row groups."""
        column = "uri" if self.is_own else self._column()
        size_column = self._size_column()
        if self.is_own:
            self._check_own_columns()
        first = 0
        for group, rows in enumerate(self.reader.group_rows):
            done = 0
            try:
                for table in self._group(column, size_column, group, first):
                    done += table[1]
                    yield table[0]
            except DamagedParquetError as error:
                self.reading.damaged(f"{self.addresses.place(first + done)}", str(error), max(1, rows - done))
            first += rows

    def _group(self, column: str, size_column: str | None, group: int, first: int) -> Iterator[tuple[pa.Table, int]]:
        """Entries, and how many rows they were made of."""
        keep = self.reading.keep_columns
        row_bytes = max(1.0, self.reader.mean_bytes(self._leaf(column)) + self.kept.row_bytes)
        batch = int(min(ROWS if keep else _BATCH_ROWS, max(64, _BATCH_BYTES / row_bytes)))
        own_columns = () if not self.is_own else (*_OWN_COLUMNS, "kept") if keep else _OWN_COLUMNS
        columns = [column, *own_columns, *([size_column] if size_column else ())]
        streams = [self._arrays(name, group, batch) for name in columns]
        done = 0
        for arrays in together([*streams, *self.kept.streams(group, batch)]):
            count = len(arrays[0])
            own = dict(zip(own_columns, arrays[1:], strict=False)) if self.is_own else None
            sizes = _numbers(arrays[len(columns) - 1]) if size_column else None
            numbers = range(first + done, first + done + count)
            kept = self._kept(own.pop("kept", None) if own else None, arrays[len(columns) :], numbers)
            yield self.addresses.of(_texts(arrays[0]), numbers, sizes, own, kept), count
            done += count

    def _kept(self, of_manifest: pa.Array | None, arrays: list[pa.Array], numbers: range) -> pa.Array | None:
        """The kept values of some rows, from a manifest's column or from the columns themselves; None without any."""
        if of_manifest is not None:
            again = kept_again(_values(of_manifest), self.reading.keep_columns, self.addresses.name)
            return self.addresses.kept(again, numbers)
        return self.addresses.kept(self.kept.texts(arrays), numbers) if arrays else None

    def _check_own_columns(self) -> None:
        """Raises UserError unless this part of a manifest has all the columns that are kept again."""
        name, keep = self.addresses.name, self.reading.keep_columns
        sample = self._sample("kept") if keep and "kept" in self.reader.leaves else None
        find_columns(keep, columns_of(sample[0] if sample else None, name), name)

    def _arrays(self, column: str, group: int, rows: int) -> Iterator[pa.Array]:
        steps, _ = find_field(list(self.reader.schema), column)
        return self.reader.batches(self._leaf(column), steps, group, rows)

    def _leaf(self, column: str) -> str:
        if column not in self.reader.leaves:
            raise UserError(f"column {column!r} of {self.addresses.name} cannot be read on its own")
        return column

    def _column(self) -> str:
        names = [*self.fields]
        ranked = [name for name in names if name_rank(name) is not None] or names
        if self.reading.column is not None:
            ranked = [name for name in names if name == self.reading.column]
        samples = [self._sample(name) if self.fields[name] and name in ranked else None for name in names]
        return names[choose_column(names, samples, self.addresses.name, self.reading)]

    def _sample(self, column: str) -> list[Any] | None:
        """The first values; None for a column of bytes that are no text."""
        values: list[Any] = []
        for group in range(len(self.reader.group_rows)):
            try:
                for array in self._arrays(column, group, SAMPLE_ROWS):
                    values += [value for value in _texts(array).to_pylist() if value is not None]
                    break
            except DamagedParquetError:  # said when its rows are read
                pass
            if values:
                break
        if any(isinstance(value, bytes) for value in values):
            values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
            texts = is_text(self._kind(column)) or are_addresses(values)
            return values if texts else None
        return values

    def _kind(self, column: str) -> pa.DataType:
        return find_field(list(self.reader.schema), column)[1]

    def _size_column(self) -> str | None:
        column = self.reading.size_column
        if column is None or self.is_own:
            return None
        kind = self._kind(column)
        if kind is None:
            raise UserError(f"{self.addresses.name} has no column {column!r}: its columns are {shown([*self.fields])}")
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or is_text(kind)):
            raise UserError(f"column {column!r} of {self.addresses.name} holds no sizes in bytes but {kind}")
        return column


def _text_fields(fields: list[pa.Field], prefix: str = "") -> dict[str, bool]:
    """All columns and the fields of structs, as `a.b`, and whether they may hold addresses."""
    names: dict[str, bool] = {}
    for field in fields:
        name = f"{prefix}{field.name}"
        readable = is_text(field.type) or (is_bytes(field.type) and not pa.types.is_fixed_size_binary(field.type))
        names.setdefault(name, readable)
        if pa.types.is_struct(field.type) and not prefix:
            children = [field.type.field(index) for index in range(field.type.num_fields)]
            names.update({key: value for key, value in _text_fields(children, f"{name}.").items() if key not in names})
    return names


def _is_own(schema: pa.Schema) -> bool:
    """Whether the file is part of a manifest of this package, perhaps of a version that kept no values."""
    return "row_id" in schema.names and all(
        schema.names.count(field.name) == 1 and schema.field(field.name).type == field.type
        for field in ENTRY_SCHEMA
        if field.name != "kept" or "kept" in schema.names
    )


def _texts(array: pa.Array) -> pa.Array:
    """The values as strings; as bytes where they are not UTF-8, which Parquet's strings need not be."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not pa.types.is_binary(array.type):
        array = array.cast(pa.binary())
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return array


def _values(array: pa.Array) -> list[str | None]:
    """The values of a column of strings; what of them is not UTF-8 becomes surrogates."""
    values = _texts(array).to_pylist()
    return [value.decode(errors="surrogateescape") if isinstance(value, bytes) else value for value in values]


def _numbers(array: pa.Array) -> list[Any]:
    try:
        return list(array.to_pylist())
    except (ValueError, UnicodeDecodeError):
        return [None] * len(array)
