"""The manifest: every image of a scan under a dense row number, in Parquet files that any row range is read from."""

import hashlib
import io
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fakescan.sources.kept_columns import columns_of
from fakescan.sources.reading import SHOWN_EXTENSIONS, LeftOut, extensions_shown, printable
from fakescan.sources.uri_set import UriSet
from fakescan.storage.objects import list_names, patiently, put_atomic, read_bytes
from fakescan.storage.store import Store, is_local
from fakescan.storage.url import redact
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

ENTRY_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("object", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("kept", pa.string()),
    ]
)
"""One image before it has a row number.

`uri`: what names the image, in full, with the query of a presigned address. `size`: bytes, null when unknown. `etag`:
the store's version of the object, unquoted; `mtime-NANOSECONDS` for a local file; null when unknown. `object`: URI of
the tar or Parquet file that holds the image, null when `uri` is itself the object. `offset`: first byte in the tar, or
row in the Parquet file. `kept`: the columns of the source that are kept for the results, as a JSON object of texts,
null where a value is null; null where none is kept.
"""

MANIFEST_SCHEMA = pa.schema([pa.field("row_id", pa.int64(), nullable=False), *ENTRY_SCHEMA])
"""One row per image; `row_id` counts from 0 without gaps. The files of earlier versions have no `kept`."""

ROWS_PER_FILE = 1_048_576
ROW_GROUP_ROWS = 16_384
INFO_NAME = "manifest.json"

_BATCH_ROWS = 8 * ROW_GROUP_ROWS
_BATCH_BYTES = 2**26
_SHOWN_TEXT = 2_000


class ManifestInfo(BaseModel):
    """The contents of `manifest.json`, which is written last: a manifest that has one is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["fakescan-manifest-1"] = "fakescan-manifest-1"
    rows: int = Field(description="Images.")
    duplicates: int = Field(description="Entries left out because their URI had come before.")
    skipped_by_extension: dict[str, int] = Field(description="Objects left out, by file name extension.")
    seen: int | None = Field(default=None, description="Objects, members and rows that the source was seen to hold.")
    left_out: dict[str, int] = Field(default={}, description="What became no row, by reason; duplicates apart.")
    places: dict[str, str] = Field(default={}, description="For each reason the first place.")
    notes: list[str] = Field(default=[], description="Choices made in reading the source, for people.")
    listed_at: datetime | None = Field(
        default=None, description="When the source was listed, where that was earlier: the time of an inventory."
    )
    source: str = Field(description="What was indexed, without secrets.")
    known_bytes: int = Field(description="Sum of the known sizes, in bytes.")
    fingerprint: str = Field(
        description="SHA-256 over uri, size, etag and offset of all rows in order, and over kept where there is any."
    )
    rows_per_file: int
    row_group_rows: int

    def everything_left_out(self) -> dict[str, int]:
        """By reason, duplicates among them."""
        return {**self.left_out, **({"duplicates": self.duplicates} if self.duplicates else {})}

    def account(self) -> list[str]:
        """Lines for people: every reason, with a place, and the extensions; empty where nothing was left out."""
        lines = [printable(note, _SHOWN_TEXT) for note in self.notes]
        for reason, count in self.left_out.items():
            place = printable(self.places.get(reason, ""), _SHOWN_TEXT)
            lines.append(f"left out: {count:,} {reason}{f', such as {place}' if place else ''}")
        if self.skipped_by_extension:
            more = f" (more in {INFO_NAME})" if len(self.skipped_by_extension) > SHOWN_EXTENSIONS else ""
            lines.append(f"  {'   '.join(extensions_shown(self.skipped_by_extension))}{more}")
        if self.duplicates:
            lines.append(f"left out: {self.duplicates:,} duplicates")
        return lines


class ManifestReader:
    """Random access to a manifest by row number; keeps one open file and its last two row groups.

    Pickles to worker processes without what it has read.
    """

    def __init__(self, url: str, store: Store) -> None:
        self.url = url.rstrip("/") or url
        self.store = store
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._file: tuple[int, pq.ParquetFile] | None = None
        self._groups: dict[tuple[int, int], pa.Table] = {}

    def __reduce__(self) -> tuple[type["ManifestReader"], tuple[str, Store]]:
        return ManifestReader, (self.url, self.store)

    @cached_property
    def info(self) -> ManifestInfo:
        """The contents of `manifest.json`. `UserError` if the folder holds no complete manifest."""
        filesystem, path = self.store.filesystem(f"{self.url}/{INFO_NAME}")
        try:
            return ManifestInfo.model_validate_json(read_bytes(filesystem, path))
        except FileNotFoundError:
            raise UserError(f"{redact(self.url)} holds no complete manifest ({INFO_NAME} is missing)") from None
        except ValidationError:
            raise UserError(f"{redact(self.url)}/{INFO_NAME} is not a manifest of this version of fakescan") from None

    @cached_property
    def kept_columns(self) -> tuple[str, ...]:
        """Names of the columns whose values were kept, in their order. `UserError` if they cannot be read."""
        return columns_of(self.rows(0, 1)["kept"][0].as_py(), redact(self.url)) if self.info.rows else ()

    def rows(self, first: int, count: int) -> pa.Table:
        """Rows `first` … `first + count - 1` in `MANIFEST_SCHEMA`. `IndexError` outside the manifest."""
        if first < 0 or count < 0 or first + count > self.info.rows:
            raise IndexError(f"rows {first} to {first + count} of a manifest of {self.info.rows}")
        pieces = []
        while count > 0:
            file, row = divmod(first, self.info.rows_per_file)
            group, start = divmod(row, self.info.row_group_rows)
            with self._lock:
                table = self._group(file, group)
            pieces.append(table.slice(start, count))
            first, count = first + pieces[-1].num_rows, count - pieces[-1].num_rows
        return pa.concat_tables(pieces) if pieces else MANIFEST_SCHEMA.empty_table()

    def tables(self) -> Iterator[pa.Table]:
        """All rows in order, in tables of at most one row group."""
        for first in range(0, self.info.rows, self.info.row_group_rows):
            yield self.rows(first, min(self.info.row_group_rows, self.info.rows - first))

    def compute_fingerprint(self) -> str:
        """The fingerprint of the rows as they are now, which `info` has as they were written."""
        fingerprint = hashlib.sha256()
        for table in self.tables():
            add_to_fingerprint(fingerprint, table)
        return fingerprint.hexdigest()

    def _group(self, file: int, group: int) -> pa.Table:
        if (file, group) not in self._groups:
            table = patiently(lambda: self._read_group(file, group), f"reading {redact(self.url)}", is_ours=True)
            if "kept" not in table.schema.names:  # of an earlier version
                table = table.append_column(MANIFEST_SCHEMA.field("kept"), pa.nulls(table.num_rows, pa.string()))
            self._groups = dict([*self._groups.items()][-1:])
            self._groups[file, group] = table
        return self._groups[file, group]

    def _read_group(self, file: int, group: int) -> pa.Table:
        try:
            return self._open(file).read_row_group(group)
        except UnicodeError as error:
            raise pa.ArrowInvalid(str(error)) from None
        except OSError as error:
            # Arrow's word for a damaged file, which no patience mends. What a disk or a store raises says more.
            if type(error) is OSError and error.errno is None and error.__cause__ is None:
                raise pa.ArrowInvalid(str(error)) from None
            raise

    def _open(self, file: int) -> pq.ParquetFile:
        if self._file is None or self._file[0] != file:
            filesystem, path = self.store.filesystem(f"{self.url}/{part_name(file)}")
            local = is_local(filesystem)  # its name need not be UTF-8, which Arrow takes strings for
            source: Any = pa.OSFile(os.fsencode(path)) if local else filesystem.open(path, "rb", block_size=2**20)
            self._file = (file, pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True))
        return self._file[1]


def part_name(number: int) -> str:
    """File name of a manifest's part."""
    return f"part-{number:05d}.parquet"


def manifest_document(filesystem: AbstractFileSystem, path: str) -> Any:
    """What the `manifest.json` in a folder says, whoever wrote it; None if there is none that can be read."""
    try:
        return json.loads(read_bytes(filesystem, f"{path}/{INFO_NAME}"))
    except (OSError, ValueError):
        return None


def is_manifest(document: Any) -> bool:
    """Whether a `manifest.json` is of this package."""
    return isinstance(document, dict) and str(document.get("format", "")).startswith("fakescan-manifest-")


def write_manifest(
    entries: Iterable[pa.Table | pa.RecordBatch],
    filesystem: AbstractFileSystem,
    path: str,
    *,
    source: str = "",
    unique: bool = False,
    left_out: LeftOut | None = None,
    notes: Sequence[str] = (),
    listed_at: datetime | None = None,
) -> ManifestInfo:
    """Write a manifest into the folder `path` as the entries come, in bounded memory.

    `entries`: tables with the columns of `ENTRY_SCHEMA`; all but `uri` may be missing. `unique`: the source vouches
    that no URI comes twice, which saves remembering 16 bytes for each. `left_out` and `notes`: the source's, read at
    the end. `listed_at`: when it was listed, if not now. Raises `FileExistsError` when the folder already holds a
    complete manifest.
    """
    path = path.rstrip("/")
    if INFO_NAME in (before := {name for name, _ in list_names(filesystem, path)}):
        raise FileExistsError(f"{redact(path)} already holds a manifest")
    parts = _PartWriter(filesystem, path)
    seen = None if unique else UriSet()
    arrived = 0
    for table in _batches(entries):
        arrived += table.num_rows
        if seen is not None:
            fresh = seen.add(table["uri"].chunk(0))
            if not fresh.all():
                table = table.filter(pa.array(fresh))
        parts.add(table)
    parts.close()
    info = ManifestInfo(
        rows=parts.rows,
        duplicates=arrived - parts.rows,
        skipped_by_extension=dict(left_out.by_extension) if left_out else {},
        seen=left_out.seen if left_out else None,
        left_out={str(reason): count for reason, count in left_out.counts.items()} if left_out else {},
        places={str(reason): place for reason, place in left_out.places.items()} if left_out else {},
        notes=list(notes),
        listed_at=listed_at,
        source=redact(source),
        known_bytes=parts.known_bytes,
        fingerprint=parts.fingerprint.hexdigest(),
        rows_per_file=ROWS_PER_FILE,
        row_group_rows=ROW_GROUP_ROWS,
    )
    written = {part_name(number) for number in range(parts.files)}
    for name in before - written:  # of an attempt that died: it wrote more parts than this one
        if name.startswith("part-") and name.endswith(".parquet"):
            filesystem.rm_file(f"{path}/{name}")
    unsaid = {"listed_at"} if listed_at is None else None  # earlier versions refuse what they do not know
    put_atomic(filesystem, f"{path}/{INFO_NAME}", info.model_dump_json(indent=1, exclude=unsaid).encode())
    return info


def _batches(entries: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.Table]:
    """The entries in `ENTRY_SCHEMA`, one chunk per table and about `_BATCH_ROWS` rows, whatever size they came in."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for entry in entries:
        waiting.append(conform(entry))
        rows += entry.num_rows
        size += waiting[-1]["kept"].nbytes
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows, size = [], 0, 0
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def conform(entries: pa.Table | pa.RecordBatch) -> pa.Table:
    """The columns of `ENTRY_SCHEMA` with its types; missing ones are null."""
    names = set(entries.schema.names)
    columns = [
        entries.column(field.name).cast(field.type) if field.name in names else pa.nulls(entries.num_rows, field.type)
        for field in ENTRY_SCHEMA
    ]
    return pa.table(columns, schema=ENTRY_SCHEMA)


class _PartWriter:
    """Cuts the stream into row groups and files, numbers the rows and keeps the fingerprint."""

    def __init__(self, filesystem: AbstractFileSystem, path: str) -> None:
        self.filesystem, self.path = filesystem, path
        self.rows = self.files = self.known_bytes = 0
        self.fingerprint = hashlib.sha256()
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._buffer = io.BytesIO()
        self._writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> None:
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(self._pending).combine_chunks()
            whole = joined.num_rows - joined.num_rows % ROW_GROUP_ROWS
            for first in range(0, whole, ROW_GROUP_ROWS):
                self._write(joined.slice(first, ROW_GROUP_ROWS))
            self._pending = [joined.slice(whole)]
            self._pending_rows = joined.num_rows - whole

    def close(self) -> None:
        if self._pending_rows:
            self._write(pa.concat_tables(self._pending).combine_chunks())
        self._finish_file()

    def _write(self, group: pa.Table) -> None:
        add_to_fingerprint(self.fingerprint, group)
        self.known_bytes += pc.sum(group["size"], min_count=0).as_py()
        row_ids = pa.array(np.arange(self.rows, self.rows + group.num_rows, dtype=np.int64))
        if self._writer is None:
            self._buffer = io.BytesIO()
            self._writer = pq.ParquetWriter(
                self._buffer,
                MANIFEST_SCHEMA,
                compression="zstd",
                compression_level=1,
                use_dictionary=["object"],
                write_statistics=["row_id"],
                column_encoding={"row_id": "DELTA_BINARY_PACKED"},
                write_page_checksum=True,
            )
        self._writer.write_table(pa.table([row_ids, *group.columns], schema=MANIFEST_SCHEMA), ROW_GROUP_ROWS)
        self.rows += group.num_rows
        if self.rows % ROWS_PER_FILE == 0:
            self._finish_file()

    def _finish_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            put_atomic(self.filesystem, f"{self.path}/{part_name(self.files)}", self._buffer.getvalue())
            logger.info("manifest: %d rows", self.rows)
            self.files += 1
            self._writer = None


def add_to_fingerprint(fingerprint: "hashlib._Hash", group: pa.Table) -> None:
    """Take the rows of a row group into a manifest's fingerprint."""
    for piece in fingerprinted_bytes(group):
        fingerprint.update(piece)


def fingerprinted_bytes(group: pa.Table) -> Iterator[memoryview]:
    """What of the rows of a row group goes into a manifest's fingerprint."""
    names = ("uri", "size", "etag", "offset")
    for name in names if group["kept"].null_count == group.num_rows else (*names, "kept"):
        yield from _canonical_bytes(group[name])


def _canonical_bytes(column: pa.ChunkedArray) -> Iterator[memoryview]:
    """A column's values as bytes that do not depend on how Arrow lays it out; nulls differ from every value."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(array.type):
        yield memoryview(np.where(missing, -1, array.fill_null(-1).to_numpy()).astype("<i8").tobytes())
        return
    array = array.fill_null("")
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    yield memoryview(np.where(missing, -1, np.diff(offsets)).astype("<i4").tobytes())
    yield memoryview(array.buffers()[2] or b"")[offsets[0] : offsets[-1]]
