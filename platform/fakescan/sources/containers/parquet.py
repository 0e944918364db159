"""Parquet files: opened, read column by column, and the images inside them by their place."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from fakescan.isolation.time_limit import renew, uncounted
from fakescan.sources.address_column import alternatives, are_addresses
from fakescan.sources.containers.image_column import ImageColumn, image_column, image_columns, is_list
from fakescan.sources.containers.row_group_cache import RowGroupCache
from fakescan.sources.reading import Reading
from fakescan.storage.errors import classify
from fakescan.storage.store import Store, is_local
from fakescan.storage.store_reader import StoreReader
from fakescan.storage.transport.base import LOCAL_ETAG, REPLACED, entry_etag
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import ErrorCode, ImageError, UserError

_BATCH_ROWS = 32
_LIST_BATCH_ROWS = 4
_BUFFER_BYTES = 2**20
_MAX_TEXT = 1_024
"""Mean bytes of a value up to which a binary column may hold addresses."""


class DamagedParquetError(Exception):
    """The file is not Parquet, or a part of it cannot be decoded; the message says which."""


class _StoreFile(StoreReader):
    """A store's file that Arrow may read anywhere."""

    bytes_read = 0

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.bytes_read += count
        return count

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self.file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self.file.seek(offset, whence))

    def close(self) -> None:
        self.file.close()
        super().close()


class ParquetReader:
    """One Parquet file that is open. `stream` reads a column bit by bit, not a whole row group of it.

    Raises `DamagedParquetError` for what is no Parquet, `UserError` for what cannot be reached.
    """

    def __init__(self, uri: str, store: Store, *, stream: bool = False, patience_s: float | None = None) -> None:
        self.uri = uri
        self._source: _StoreFile | None = None
        filesystem, path = store.filesystem(uri)
        try:
            if not is_local(filesystem):
                # Arrow's own buffer of a stream ends where the column does; reading ahead would not.
                options = {"cache_type": "none"} if stream else {}
                with uncounted():
                    opened = partial(filesystem.open, path, "rb", block_size=2**20, **options)
                    self._source = _StoreFile(uri, opened, patience_s=patience_s)
            elif stream:
                self._source = _StoreFile(uri, partial(open, os.fsencode(path), "rb", buffering=0), patience_s=0)
            self._file = pq.ParquetFile(
                self._source or pa.OSFile(os.fsencode(path)),
                pre_buffer=not stream,
                buffer_size=_BUFFER_BYTES if stream else 0,
            )
            self.schema: pa.Schema = self._file.schema_arrow
            self.leaves = [self._file.schema.column(index).path for index in range(len(self._file.schema))]
        except Exception as error:  # noqa: BLE001 - told apart and raised again
            if self._is_damage(error):
                raise DamagedParquetError(f"is not a readable Parquet file: {redact_text(str(error))}") from None
            raise UserError(f"cannot read {redact(uri)}: {classify(self._store_error(error))[1]}") from None
        metadata = self._file.metadata
        self.group_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        """Rows in each row group."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close(force=True)

    def column_chunk(self, leaf: str, group: int) -> Any:
        """Arrow's metadata of a leaf column in a row group."""
        return self._file.metadata.row_group(group).column(self.leaves.index(leaf))

    @property
    def bytes_read(self) -> int:
        """Bytes that were read of the file, where it is streamed."""
        return 0 if self._source is None else self._source.bytes_read

    def mean_bytes(self, leaf: str) -> float:
        """Bytes of a value, on the average, as far as the footer says."""
        chunks = [self.column_chunk(leaf, group) for group in range(len(self.group_rows))]
        size = sum(chunk.total_uncompressed_size for chunk in chunks)
        return float(size / max(1, sum(chunk.num_values for chunk in chunks)))

    def row_bytes(self, path: str) -> float:
        """Bytes of a row's values in a field and all that it holds, on the average, as far as the footer says."""
        within = [leaf for leaf in self.leaves if leaf == path or leaf.startswith(f"{path}.")]
        chunks = [self.column_chunk(leaf, group) for leaf in within for group in range(len(self.group_rows))]
        return float(sum(chunk.total_uncompressed_size for chunk in chunks) / max(1, sum(self.group_rows)))

    def batches(self, leaf: str, steps: tuple[str, ...], group: int, rows: int) -> Iterator[pa.Array]:
        """The field under `steps` of a row group in arrays of `rows` rows, read without the field's other leaves.

        `leaf` may also be the path of a field that holds several, which are all read.
        Raises `DamagedParquetError` when it cannot be decoded, or the store's own error.
        """
        try:
            for batch in self._file.iter_batches(rows, row_groups=[group], columns=[leaf], use_threads=False):
                renew()
                array = batch.column(batch.schema.names.index(steps[0]))
                for step in steps[1:]:
                    array = child(array, step)
                _check_indices(array)
                yield array
        except Exception as error:  # noqa: BLE001 - as above
            if not self._is_damage(error):
                raise self._store_error(error) from None
            raise DamagedParquetError(
                f"is damaged in row group {group} of column {'.'.join(steps)!r}: {redact_text(str(error))}"
            ) from None

    def image_leaves(self, column: ImageColumn) -> tuple[str, str | None]:
        """Parquet's own paths of the bytes and of the `path` beside them, None without one."""
        within = [leaf for leaf in self.leaves if leaf == column.path or leaf.startswith(f"{column.path}.")]
        if not column.is_struct:
            return within[0], None
        data = min((leaf for leaf in within if leaf.endswith(".bytes")), key=len)
        return data, f"{data.removesuffix('.bytes')}.path" if column.has_path else None

    def slots(self, column: ImageColumn) -> list[int]:
        """Places of images in each row group. In lists a row without images takes one, as Parquet stores it."""
        if not column.in_list:
            return self.group_rows
        leaf, _ = self.image_leaves(column)
        return [self.column_chunk(leaf, group).num_values for group in range(len(self.group_rows))]

    def list_lengths(self, column: ImageColumn, group: int) -> npt.NDArray[np.int64]:
        """Images in each row of a row group of lists."""
        leaf, path_leaf = self.image_leaves(column)
        rows = _LIST_BATCH_ROWS if path_leaf is None else 4_096
        arrays = list(self._lengths(path_leaf or leaf, column, group, rows))
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    def _lengths(self, leaf: str, column: ImageColumn, group: int, rows: int) -> Iterator[npt.NDArray[np.int64]]:
        for array in self.batches(leaf, column.steps, group, rows):
            yield list_lengths(array)

    def holds_text(self, column: ImageColumn) -> bool:
        """Whether the bytes are text that looks like addresses: some writers do not say that a column is text."""
        leaf, _ = self.image_leaves(column)
        if column.is_struct or column.in_list or self.mean_bytes(leaf) > _MAX_TEXT:
            return False
        texts = []
        for group in range(len(self.group_rows)):
            for array in self.batches(leaf, column.steps, group, _BATCH_ROWS):
                for value in array.to_pylist():
                    if value is not None:
                        texts.append(value.decode(errors="replace"))
                break
            if texts:
                break
        return are_addresses(texts)

    def _is_damage(self, error: Exception) -> bool:
        if isinstance(error, UserError) or (self._source is not None and self._source.error is not None):
            return False
        return not isinstance(error, OSError) or error.errno is None

    def _store_error(self, error: Exception) -> Exception:
        return error if self._source is None or self._source.error is None else self._source.error


def image_column_of(uri: str, reading: Reading) -> ImageColumn | None:
    """The column of images in a Parquet file; None if it holds addresses, or is damaged and damage is left out.

    Raises `UserError` for a file that cannot be read.
    """
    try:
        with ParquetReader(uri, reading.store) as reader:
            column = image_column(reader.schema, reading.column)
            if column is None or reader.holds_text(column):
                return None
            if others := [name for name in image_columns(reader.schema) if name != column.path]:
                reading.note(
                    f"images are read from column {column.path!r}, not from {alternatives(others)}; --column chooses"
                )
            return column
    except DamagedParquetError as error:
        if not reading.skip_damaged:  # else counted where its rows would be
            reading.damaged(redact(uri), str(error))
        return None


def read_images(
    uri: str, etag: str | None, places: list[int], store: Store, column: str | None = None
) -> Iterator[tuple[int, bytes | ImageError | None]]:
    """Place and image bytes (None where null) of the given places, which must be in ascending order.

    A place is a row, or in a column of lists the place in Parquet's own flat order; `column` is the column that was
    named. Streams through the row groups: a group of a thousand images may be larger than the memory. Where a row
    group is damaged its images have the error (truncated). Raises `ImageError` (changed) when the file is not the one
    in the manifest.
    """
    filesystem, path = store.filesystem(uri)
    if etag and (now := _version(filesystem, path)) and now != etag:
        raise ImageError(ErrorCode.CHANGED, REPLACED)
    try:
        reader = ParquetReader(uri, store, stream=True, patience_s=0.0)  # whoever fetches has its own
    except DamagedParquetError as error:
        raise ImageError(ErrorCode.TRUNCATED, f"the Parquet file {error}") from None
    with reader:
        images = image_column(reader.schema, column)
        slots = reader.slots(images) if images is not None else []
        if images is None or places[0] < 0 or places[-1] >= sum(slots):
            raise ImageError(ErrorCode.CHANGED, "the Parquet file no longer holds this row of images")
        ends = np.cumsum(slots)
        groups = np.searchsorted(ends, places, side="right")
        for group in np.unique(groups).tolist():
            start = int(ends[group - 1]) if group else 0
            wanted = [place - start for place, of in zip(places, groups, strict=True) if of == group]
            try:
                for place, data in _images_of(reader, images, group, slots[group], wanted, etag):
                    del wanted[0]
                    yield start + place, data
            except DamagedParquetError as error:
                failed = ImageError(ErrorCode.TRUNCATED, f"the Parquet file {error}")
                yield from ((start + place, failed) for place in wanted)


def _images_of(
    reader: ParquetReader, column: ImageColumn, group: int, slots: int, wanted: list[int], etag: str | None
) -> Iterator[tuple[int, bytes | None]]:
    """The same from what other shards of the group have read, where they want the others of its `slots` places."""
    if etag and len(wanted) < slots:
        leaf, _ = reader.image_leaves(column)
        size = reader.column_chunk(leaf, group).total_uncompressed_size
        cache = RowGroupCache((reader.uri, etag, column.path, group), slots, size)
        every = list(range(slots))

        def images() -> Iterator[bytes | None]:
            return (data for _, data in _group_images(reader, column, group, list(every)))

        with contextlib.suppress(DamagedParquetError):  # which is met, and told, where it is
            if (found := cache.read(wanted, images, lambda: reader.bytes_read)) is not None:
                yield from zip(list(wanted), found, strict=True)
                return
    yield from _group_images(reader, column, group, list(wanted))


def _group_images(
    reader: ParquetReader, column: ImageColumn, group: int, wanted: list[int]
) -> Iterator[tuple[int, bytes | None]]:
    """Place within a row group and bytes of the wanted places, in their order."""
    leaf, _ = reader.image_leaves(column)
    start = 0
    for array in reader.batches(leaf, column.steps, group, _LIST_BATCH_ROWS if column.in_list else _BATCH_ROWS):
        at = np.arange(len(array))
        count = len(array)
        if column.in_list:
            lengths = list_lengths(array)
            at = flat_indices(lengths)
            array, count = array.flatten(), len(at)
        values = child(array, "bytes") if column.is_struct else array
        while wanted and wanted[0] < start + count:
            place = wanted.pop(0)
            index = int(at[place - start])
            yield place, None if index < 0 else values[index].as_py()
        start += count
        if not wanted:
            return


def together(streams: Sequence[Iterator[pa.Array]]) -> Iterator[list[pa.Array]]:
    """Arrays of the same rows, one of each column. Raises `DamagedParquetError` where a column has other rows."""
    while arrays := [array for array in (next(stream, None) for stream in streams) if array is not None]:
        if len(arrays) != len(streams) or any(len(array) != len(arrays[0]) for array in arrays):
            raise DamagedParquetError("holds columns that differ in their number of rows")
        yield arrays


def list_lengths(array: pa.Array) -> npt.NDArray[np.int64]:
    """Images in each row of an array of lists; null has none."""
    return np.asarray(pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0).to_numpy(zero_copy_only=False))


def flat_indices(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each place its index in the flattened array, -1 for the place of a row without images."""
    empty = np.repeat(lengths == 0, np.maximum(lengths, 1))
    indices = np.cumsum(~empty) - 1
    return np.where(empty, -1, indices)


def _check_indices(array: pa.Array) -> None:
    """Raises ValueError for dictionary indices that lead nowhere, which Arrow reads from a damaged file as they are."""
    if pa.types.is_dictionary(array.type):
        bounds = pc.min_max(array.indices).as_py()
        if bounds["min"] is not None and not 0 <= bounds["min"] <= bounds["max"] < len(array.dictionary):
            raise ValueError("a dictionary index is out of bounds")
    elif pa.types.is_struct(array.type):
        for field in array.flatten():
            _check_indices(field)
    elif is_list(array.type):
        _check_indices(array.flatten())


def child(array: pa.Array, name: str) -> pa.Array:
    """A field of an array of structs, null where the struct is null."""
    return array.flatten()[array.type.get_field_index(name)]


def _version(filesystem: AbstractFileSystem, path: str) -> str | None:
    if is_local(filesystem):
        return f"{LOCAL_ETAG}{os.stat(path).st_mtime_ns}"
    with uncounted():
        return entry_etag(filesystem.info(path))
