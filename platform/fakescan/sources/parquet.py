"""Parquet files that carry the images' bytes: Hugging Face `image` structs and plain binary columns."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.reading import Reading
from fakescan.storage.errors import classify
from fakescan.storage.store import Store, is_local
from fakescan.storage.transport.base import LOCAL_ETAG, entry_etag
from fakescan.storage.url import redact
from fakevlm.errors import ErrorCode, ImageError, UserError

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "bytes", "image_bytes", "content")
"""Names under which image bytes are looked for, the likeliest first; any other struct of bytes and path comes after."""


_BATCH_ROWS = 32
_BUFFER_BYTES = 2**20


def image_column(schema: pa.Schema, column: str | None = None) -> str | None:
    """The column that holds image bytes, as `name` or `name.bytes` for a struct; None if there is none."""
    found = {field.name: path for field in schema if (path := _bytes_path(field))}
    for name in IMAGE_COLUMNS:
        if name in found:
            return found[name]
    return next((path for name, path in found.items() if path != name), None)


def _bytes_path(field: pa.Field) -> str | None:
    if pa.types.is_struct(field.type):
        index = field.type.get_field_index("bytes")
        return f"{field.name}.bytes" if index >= 0 and _is_binary(field.type.field(index).type) else None
    return str(field.name) if _is_binary(field.type) else None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def open_parquet(uri: str, store: Store, *, stream: bool = False) -> pq.ParquetFile:
    """The file. `stream` reads a column bit by bit, not whole. `UserError` if it is not Parquet or not readable."""
    filesystem, path = store.filesystem(uri)
    source: Any = path
    try:
        if not is_local(filesystem):
            source = filesystem.open(path, "rb", block_size=2**20)
        return pq.ParquetFile(source, pre_buffer=not stream, buffer_size=_BUFFER_BYTES if stream else 0)
    except pa.ArrowInvalid as error:
        raise UserError(f"{redact(uri)} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise UserError(f"cannot read {redact(uri)}: {classify(error)[1]}") from None


def parquet_entries(files: Iterable[pa.Table], reading: Reading) -> Iterator[pa.Table]:
    """One entry per row of every file, called `FILE#row=N`, in tables of `ENTRY_SCHEMA`. Only footers are read."""
    for table in files:
        for uri, etag in zip(table["uri"].to_pylist(), table["etag"].to_pylist(), strict=True):
            with open_parquet(uri, reading.store) as file:
                if image_column(file.schema_arrow) is None:
                    raise UserError(f"{redact(uri)} has no column of image bytes (columns: {file.schema_arrow.names})")
                rows = file.metadata.num_rows
            for first in range(0, rows, 65_536):
                yield _row_entries(uri, etag, first, min(rows, first + 65_536))


def _row_entries(uri: str, etag: str | None, first: int, last: int) -> pa.Table:
    count = last - first
    columns = [
        pa.array([f"{uri}#row={row}" for row in range(first, last)], pa.string()),
        pa.nulls(count, pa.int64()),
        pa.array([etag] * count, pa.string()),
        pa.array([uri] * count, pa.string()),
        pa.array(np.arange(first, last, dtype=np.int64)),
    ]
    return pa.table(columns, schema=ENTRY_SCHEMA)


def read_images(uri: str, etag: str | None, rows: list[int], store: Store) -> Iterator[tuple[int, bytes | None]]:
    """Row number and image bytes (None where null) of the given rows, which must be in ascending order.

    Streams through the row groups that hold them: a group of a thousand images may be larger than the memory. Raises
    `ImageError` (changed) when the file is not the one in the manifest.
    """
    filesystem, path = store.filesystem(uri)
    if etag and (now := _version(filesystem, path)) and now != etag:
        raise ImageError(ErrorCode.CHANGED, "the Parquet file is no longer the one in the manifest")
    with open_parquet(uri, store, stream=True) as file:
        column = image_column(file.schema_arrow)
        if column is None or rows[-1] >= file.metadata.num_rows:
            raise ImageError(ErrorCode.CHANGED, "the Parquet file no longer holds this row of images")
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)])
        groups = np.searchsorted(ends, rows, side="right")
        for group in np.unique(groups).tolist():
            start = int(ends[group - 1]) if group else 0
            wanted = [row for row, of in zip(rows, groups, strict=True) if of == group]
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False):
                values = batch.column(0).field("bytes") if pa.types.is_struct(batch.column(0).type) else batch.column(0)
                while wanted and wanted[0] < start + batch.num_rows:
                    row = wanted.pop(0)
                    yield row, values[row - start].as_py()
                start += batch.num_rows
                if not wanted:
                    break


def _version(filesystem: AbstractFileSystem, path: str) -> str | None:
    if is_local(filesystem):
        return f"{LOCAL_ETAG}{os.stat(path).st_mtime_ns}"
    return entry_etag(filesystem.info(path))
