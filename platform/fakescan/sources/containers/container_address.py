"""Addresses of images inside tar and Parquet files, as results carry them, made into entries that can be fetched."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.containers.image_column import ImageColumn, image_column
from fakescan.sources.containers.parquet import DamagedParquetError, ParquetReader
from fakescan.sources.containers.tar import tar_members
from fakescan.sources.listing import list_objects
from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.errors import store_errors
from fakescan.storage.url import file_path, scheme_of
from fakevlm.errors import UserError

_TAR = re.compile(r"^tar://.*?::(?P<container>.+)$", re.DOTALL)
_ROW = re.compile(
    r"^(?P<container>.+\.parquet)#row=(?P<row>\d{1,18})(&image=(?P<image>\d{1,18}))?(&column=(?P<column>[^&]+))?$",
    re.IGNORECASE | re.DOTALL,
)
_ROW_FILE = re.compile(r"\.parquet$", re.IGNORECASE)
_MAX_OPEN = 16


class _Place(NamedTuple):
    """Where in a container an image is; `size` in bytes, None in Parquet."""

    offset: int
    size: int | None = None


class _Container(NamedTuple):
    """A tar or Parquet file: its version, and what finds an address in it."""

    etag: str | None
    find: Callable[[str], _Place | None]


class Containers:
    """The containers that the addresses of one list lead into; the last few are remembered."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._known: dict[str, _Container | None] = {}

    def resolve(self, table: pa.Table, place: Callable[[int], str]) -> pa.Table:
        """The entries, those inside containers with their object and offset.

        One whose container, member or row does not exist is counted; `place` gives the place of an entry by its index.
        Raises `UserError` for a container that exists and cannot be read.
        """
        inside = pc.or_(pc.starts_with(table["uri"], "tar://"), pc.match_substring(table["uri"], "#row="))
        if not pc.any(inside).as_py():
            return table
        entries = table.to_pylist()
        keep = [True] * len(entries)
        for index in pc.indices_nonzero(inside).to_pylist():
            entry = entries[index]
            container = container_of(entry["uri"])
            if container is None:
                continue  # a key that merely looks like one
            found = self._open(container)
            where = found.find(entry["uri"]) if found else None
            if found is None or where is None:
                keep[index] = False
                self._reading.left_out.add(LeftOutReason.BAD_ADDRESS, f"{place(index)}: no such file, member or row")
                continue
            entry.update(object=container, offset=where.offset, size=where.size, etag=found.etag)
        return pa.Table.from_pylist(entries, ENTRY_SCHEMA).filter(pa.array(keep, pa.bool_()))

    def _open(self, uri: str) -> _Container | None:
        if uri not in self._known:
            self._known = dict([*self._known.items()][1 - _MAX_OPEN :])
            exists, etag = _version(uri, self._reading)
            self._known[uri] = None
            if exists and _ROW_FILE.search(uri):
                self._known[uri] = _parquet(uri, etag, self._reading)
            elif exists:
                self._known[uri] = _tar(uri, etag, self._reading)
        return self._known[uri]


def container_of(address: str) -> str | None:
    """URI of the tar or Parquet file that `tar://MEMBER::TAR` or `FILE.parquet#row=N` leads into, None for others."""
    match = _TAR.match(address) or _ROW.match(address)
    return match["container"] if match else None


def _version(uri: str, reading: Reading) -> tuple[bool, str | None]:
    """Whether the object exists, as far as that is known, and its version."""
    try:
        reading.store.filesystem(uri)
    except Exception:  # noqa: BLE001 - a kind of store that is unknown, or lacks what it needs
        return False, None
    if scheme_of(uri) == "http":
        return True, None
    try:
        tables = list_objects(uri, Reading(reading.store))
        first: Any = next((table for table in tables if table.num_rows), None)
    except FileNotFoundError:
        return False, None
    except store_errors():
        return True, None  # what is wrong is said by the reader of the container
    own = file_path(uri) if scheme_of(uri) == "file" else uri
    if first is None or first.num_rows != 1 or first["uri"][0].as_py() not in (own, uri):
        return False, None
    return True, first["etag"][0].as_py()


def _tar(uri: str, etag: str | None, reading: Reading) -> _Container | None:
    try:
        members = tar_members(uri, reading)
    except UserError:
        if reading.skip_damaged:
            return None
        raise
    return _Container(etag, lambda address: _Place(*members[address]) if address in members else None)


def _parquet(uri: str, etag: str | None, reading: Reading) -> _Container | None:
    try:
        with ParquetReader(uri, reading.store) as reader:
            schema, slots, rows = reader.schema, {}, np.cumsum([0, *reader.group_rows])
    except DamagedParquetError:
        return None
    lengths: dict[tuple[str, int], Any] = {}

    def in_list(column: ImageColumn, row: int, image: int) -> _Place | None:
        group = int(np.searchsorted(rows, row, side="right")) - 1
        key = column.path, group
        if key not in lengths:
            with ParquetReader(uri, reading.store, stream=True) as reader:
                slots[column.path] = np.cumsum([0, *reader.slots(column)])
                lengths[key] = reader.list_lengths(column, group)
        at = row - int(rows[group])
        if image >= lengths[key][at]:
            return None
        before = int(np.maximum(lengths[key][:at], 1).sum())
        return _Place(int(slots[column.path][group]) + before + image)

    def find(address: str) -> _Place | None:
        match = _ROW.match(address)
        column = image_column(schema, unquote(match["column"]) if match and match["column"] else None)
        if match is None or column is None or column.in_list != (match["image"] is not None):
            return None
        row = int(match["row"])
        if row >= rows[-1]:
            return None
        if not column.in_list:
            return _Place(row)
        try:
            return in_list(column, row, int(match["image"]))
        except DamagedParquetError:
            return None

    return _Container(etag, find)
