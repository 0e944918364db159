"""From the rows of an inventory to manifest entries: the latest version of each object that can be read."""

from collections.abc import Iterator
from urllib.parse import unquote_plus

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.sources.inventory.data_file import DamagedFileError, ShortRowError, read_data_file
from fakescan.sources.inventory.report import DataFile, Inventory
from fakescan.sources.listers.ordered_listing import Listed, OrderedListing, Segment
from fakescan.sources.manifest import conform
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.url import redact

_THREADS = 4
_MAX_KEY = 8_192
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS")
"""Storage classes, and tiers of Intelligent-Tiering, from which an object must be restored before it is read."""

_KEPT, _FOLDER, _DAMAGED, _SHORT = 0, -1, -2, -3
_REASONS = (
    LeftOutReason.EARLIER_VERSION,
    LeftOutReason.OTHER_BUCKET,
    LeftOutReason.ARCHIVED,
    LeftOutReason.BAD_ADDRESS,
)
"""Why a row becomes no entry, by its number from 1 in the column `reason`."""


def inventory_entries(inventory: Inventory, reading: Reading) -> Iterator[pa.Table]:
    """The objects in tables of `ENTRY_SCHEMA`, in the order of the data files and their rows.

    Sizes and entity tags are the store's own, and believed. What becomes no entry is counted as seen, by its reason.
    """
    files = {f"{number}": file for number, file in enumerate(inventory.files)}

    def rows(segment: Segment) -> Iterator[Listed]:
        return (Listed(table) for table in _file_rows(inventory, files[segment.prefix], reading))

    for table in OrderedListing(rows, threads=_THREADS).tables([Segment(number) for number in files]):
        reasons = table["reason"].to_numpy()
        kept = reasons == _KEPT
        if not kept.all():
            _account(table, reasons, reading)
            table = table.filter(pa.array(kept))
        yield conform(table.drop_columns(["reason"]))


def _account(table: pa.Table, reasons: NDArray[np.int8], reading: Reading) -> None:
    """Count what becomes no entry; here, where it comes in order."""
    for number, reason in enumerate(_REASONS, 1):
        if count := int((reasons == number).sum()):
            place = redact(table["uri"][int(np.argmax(reasons == number))].as_py() or "")
            reading.left_out.seen += count
            reading.left_out.add(reason, place, count)
    for row in np.flatnonzero(reasons == _SHORT).tolist():
        count = table["size"][row].as_py()
        reading.left_out.seen += count
        reading.left_out.add(LeftOutReason.CELLS, table["uri"][row].as_py(), count)
    for row in np.flatnonzero(reasons == _DAMAGED).tolist():
        reading.damaged(table["uri"][row].as_py(), table["etag"][row].as_py())


def _file_rows(inventory: Inventory, file: DataFile, reading: Reading) -> Iterator[pa.Table]:
    """The rows of one file with the columns uri, size, etag and reason; what is wrong with it as a row of its own."""
    try:
        for table in read_data_file(inventory, file, reading.store):
            yield _judged(table, inventory)
    except ShortRowError as error:
        yield _row(redact(file.url), error.rows, None, _SHORT)
    except DamagedFileError as error:
        yield _row(redact(file.url), None, str(error), _DAMAGED)


def _row(uri: str, size: int | None, etag: str | None, reason: int) -> pa.Table:
    return _table(pa.array([uri]), pa.array([size], pa.int64()), pa.array([etag], pa.string()), np.array([reason]))


def _table(uris: pa.Array, sizes: pa.Array, etags: pa.Array, reasons: NDArray[np.int64]) -> pa.Table:
    return pa.table([uris, sizes, etags, pa.array(reasons, pa.int8())], names=["uri", "size", "etag", "reason"])


def _judged(table: pa.Table, inventory: Inventory) -> pa.Table:
    table = table.combine_chunks()
    columns = {name: _chunk(table, name) for name in table.column_names}
    count = table.num_rows
    text = {name: _text(columns[name]) for name in ("bucket", "key")}
    keys, wrong = _decoded(text["key"]) if inventory.format == "csv" else (text["key"], np.zeros(count, bool))
    wrong |= _mask(pc.equal(pc.fill_null(keys, ""), "")) | _mask(pc.greater(pc.binary_length(keys), _MAX_KEY))
    sizes = _sizes(columns.get("size"), count)
    etags = pa.nulls(count, pa.string())
    if "etag" in columns:
        bare = pc.utf8_trim(_text(columns["etag"]), '" ')
        etags = pc.if_else(pc.equal(bare, ""), None, bare)
    reasons = np.zeros(count, np.int64)
    # In the order of their weight: the last one that holds of a row is its reason.
    folder = _mask(pc.ends_with(keys, "/")) & _mask(pc.equal(pc.fill_null(sizes, 0), 0))
    reasons[folder] = _FOLDER
    reasons[_archived(columns) & ~folder] = 3
    reasons[wrong] = 4
    reasons[_mask(pc.not_equal(pc.fill_null(text["bucket"], ""), inventory.bucket))] = 2
    latest = _flags(columns.get("islatest"), count, missing=True)
    reasons[~latest | _flags(columns.get("isdeletemarker"), count, missing=False)] = 1
    uris = pc.binary_join_element_wise(pa.scalar(f"s3://{inventory.bucket}/"), pc.fill_null(keys, ""), "")
    return _table(uris, sizes, etags, reasons)


def _decoded(keys: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The keys of a CSV file, which are URL-encoded there, and which of them are no UTF-8."""
    wrong = np.zeros(len(keys), bool)
    quoted = np.flatnonzero(_mask(pc.match_substring_regex(keys, "[%+]"))).tolist()
    if not quoted:
        return keys, wrong
    plain = []
    for index in quoted:
        try:
            plain.append(unquote_plus(keys[index].as_py(), errors="strict"))
        except UnicodeDecodeError:
            wrong[index] = True
            plain.append(keys[index].as_py())
    mask = np.zeros(len(keys), bool)
    mask[quoted] = True
    return pc.replace_with_mask(keys, pa.array(mask), pa.array(plain, pa.string())), wrong


def _archived(columns: dict[str, pa.Array]) -> NDArray[np.bool_]:
    found = np.zeros(len(columns["key"]), bool)
    for name in ("storageclass", "intelligenttieringaccesstier"):
        if name in columns:
            found |= _mask(pc.is_in(pc.utf8_upper(_text(columns[name])), value_set=pa.array(_ARCHIVES)))
    return found


def _sizes(column: pa.Array | None, count: int) -> pa.Array:
    if column is None:
        return pa.nulls(count, pa.int64())
    if pa.types.is_integer(column.type):
        return pc.if_else(pc.less(column, 0), None, column).cast(pa.int64())
    text = _text(column)
    return pc.if_else(pc.match_substring_regex(text, r"^\d{1,18}$"), text, None).cast(pa.int64())


def _flags(column: pa.Array | None, count: int, *, missing: bool) -> NDArray[np.bool_]:
    if column is None:
        return np.full(count, missing)
    if not pa.types.is_boolean(column.type):
        text = pc.utf8_lower(_text(column))
        column = pc.if_else(pc.equal(text, ""), None, pc.equal(text, "true"))
    return np.asarray(pc.fill_null(column, missing).to_numpy(zero_copy_only=False), bool)


def _chunk(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string())


def _mask(values: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), bool)
