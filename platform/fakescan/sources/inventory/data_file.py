"""The data files of an inventory, read to their end in bounded memory and checked against the sums of its manifest."""

import gzip
import hashlib
import io
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq

from fakescan.sources.inventory.report import DataFile, Inventory, plain_name
from fakescan.storage.errors import store_errors
from fakescan.storage.explanation import explain
from fakescan.storage.objects import patiently
from fakescan.storage.store import Store, is_local
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import UserError

WANTED = ("bucket", "key", "size", "etag", "islatest", "isdeletemarker", "storageclass", "intelligenttieringaccesstier")
"""Columns that are read, where they are there, by their plain names."""

_CHUNK = 8 * 2**20
_ROWS = 65_536


class DamagedFileError(Exception):
    """The file cannot be read to its end, or is not the one that the manifest names; the message says which."""


class ShortRowError(Exception):
    """Rows of a CSV file with more or fewer cells than there are columns, counted once the file is read."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"{rows} rows")
        self.rows = rows


class _Bytes(io.RawIOBase):
    """A file of a store from its beginning on, asked for until the store answers; keeps the sum of what was read."""

    def __init__(self, file: DataFile, store: Store) -> None:
        self._filesystem, self._path = store.filesystem(file.url)
        self._name = redact(file.url)
        self.sum = hashlib.md5(usedforsecurity=False)
        self.length = int(patiently(lambda: self._filesystem.info(self._path), f"reading {self._name}")["size"])
        self._at = 0
        self._data = memoryview(b"")
        if file.size is not None and file.size != self.length:
            raise DamagedFileError(f"has {self.length} bytes, and {file.size} by the inventory's manifest")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        if not self._data and self._at < self.length:
            end = min(self.length, self._at + _CHUNK)
            data = patiently(
                lambda: self._filesystem.cat_file(self._path, start=self._at, end=end), f"reading {self._name}"
            )
            if len(data) != end - self._at:
                raise DamagedFileError(f"ends after {self._at + len(data)} of {self.length} bytes")
            self.sum.update(data)
            self._at, self._data = end, memoryview(data)
        count = min(len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def check(self, file: DataFile) -> None:
        """Read to the end, and compare the sum with the manifest's."""
        while self.readinto(bytearray(_CHUNK)):
            pass
        if file.md5 is not None and self.sum.hexdigest() != file.md5:
            raise DamagedFileError("is not the one that the inventory's manifest names: its MD5 checksum is another")


def read_data_file(inventory: Inventory, file: DataFile, store: Store) -> Iterator[pa.Table]:
    """Tables with the columns of `WANTED` that the file has.

    Raises `DamagedFileError` for what is no such file or has another checksum than the manifest says, at its end for
    CSV, and at its beginning for the other formats; `ShortRowError` at the end; `UserError` for what cannot be reached.
    """
    try:
        match inventory.format:
            case "csv":
                yield from _csv(inventory, file, store)
            case "parquet":
                yield from _parquet(file, store)
            case _:
                yield from _orc(file, store)
    except (DamagedFileError, ShortRowError, UserError):
        raise
    except FileNotFoundError:
        raise DamagedFileError("does not exist") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFileError(f"is broken off or damaged in its compression: {redact_text(str(error))}") from None
    except (pa.ArrowException, UnicodeError, ValueError) as error:
        raise DamagedFileError(f"cannot be read as {inventory.format}: {redact_text(str(error))[:300]}") from None
    except store_errors() as error:
        if type(error) is OSError and error.errno is None and error.__cause__ is None:  # Arrow's word for damage
            raise DamagedFileError(f"cannot be read as {inventory.format}: {redact_text(str(error))[:300]}") from None
        raise UserError(explain("read", file.url, store, error)) from None


def _csv(inventory: Inventory, file: DataFile, store: Store) -> Iterator[pa.Table]:
    raw = _Bytes(file, store)
    buffered = io.BufferedReader(raw, _CHUNK)
    packed = buffered.peek(2)[:2] == b"\x1f\x8b"
    stream = cast(IO[bytes], gzip.GzipFile(fileobj=buffered) if packed else buffered)
    short = 0

    def skip(_: Any) -> str:
        nonlocal short
        short += 1
        return "skip"

    names = _unlike([plain_name(column) for column in inventory.columns])
    kept = [name for name in names if name in WANTED]
    if raw.length and stream.peek(1):  # type: ignore[attr-defined]
        reader = pa_csv.open_csv(
            stream,
            pa_csv.ReadOptions(use_threads=False, block_size=_CHUNK, column_names=names),
            pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pa_csv.ConvertOptions(
                include_columns=kept,
                column_types={name: pa.string() for name in kept},
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])
    raw.check(file)
    if short:
        raise ShortRowError(short)


def _unlike(names: list[str]) -> list[str]:
    """The names, those that come again changed."""
    return [name if name not in names[:index] else f"{name} {index}" for index, name in enumerate(names)]


def _parquet(file: DataFile, store: Store) -> Iterator[pa.Table]:
    with _checked(file, store) as path, pq.ParquetFile(pa.OSFile(os.fsencode(path))) as reader:
        columns = _wanted(reader.schema_arrow)
        for batch in reader.iter_batches(_ROWS, columns=list(columns.values()), use_threads=False):
            yield _renamed(pa.Table.from_batches([batch]), columns)


def _orc(file: DataFile, store: Store) -> Iterator[pa.Table]:
    with _checked(file, store) as path:
        reader = pa_orc.ORCFile(pa.OSFile(os.fsencode(path)))
        columns = _wanted(reader.schema)
        for stripe in range(reader.nstripes):
            batch = reader.read_stripe(stripe, columns=list(columns.values()))
            for first in range(0, batch.num_rows, _ROWS):
                yield _renamed(pa.Table.from_batches([batch.slice(first, _ROWS)]), columns)


def _wanted(schema: pa.Schema) -> dict[str, str]:
    """The file's own name of each wanted column. Raises `DamagedFileError` for a file without the objects' names."""
    found: dict[str, str] = {}
    for name in schema.names:
        if plain_name(name) in WANTED:
            found.setdefault(plain_name(name), name)
    if not {"bucket", "key"} <= found.keys():
        raise DamagedFileError(f"has no columns bucket and key; it has {', '.join(schema.names)[:200]}")
    return found


def _renamed(table: pa.Table, columns: dict[str, str]) -> pa.Table:
    return pa.table([table.column(name) for name in columns.values()], names=list(columns))


@contextmanager
def _checked(file: DataFile, store: Store) -> Iterator[str]:
    """The file on this machine's disk, once its sum is that of the manifest. Formats with footers are read anywhere."""
    raw = _Bytes(file, store)
    filesystem, path = store.filesystem(file.url)
    if is_local(filesystem):
        raw.check(file)
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="fakescan-inventory-") as copy:
        try:
            shutil.copyfileobj(io.BufferedReader(raw, _CHUNK), copy, _CHUNK)
            copy.flush()
        except OSError as error:
            if error.errno is None or re.search("space|quota", str(error.strerror), re.IGNORECASE) is None:
                raise
            folder = tempfile.gettempdir()
            raise UserError(
                f"{folder} has no room for {redact(file.url)}, {raw.length} bytes; set TMPDIR to a folder that has"
            ) from None
        raw.check(file)
        yield copy.name
