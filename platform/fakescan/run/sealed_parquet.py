"""Parquet files whose every byte can be checked: page checksums for any reader, and a seal over the whole file.

Page checksums leave the headers and the footer of a file uncovered. The seal is the SHA-256 of the file, kept in its
own footer: it is computed with zeros in its place.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = "fakescan.sha256"
_BLANK = "0" * 64
# In the footer a key is followed by two bytes, the type and the length of its value.
_SEAL = re.compile(_KEY.encode() + rb"..([0-9a-f]{64})", re.DOTALL)


class Seal(Enum):
    """What the seal of a file tells."""

    INTACT = "intact"
    BROKEN = "broken"
    MISSING = "missing"
    """Written by a version before there were seals, or by another program."""


def parquet_bytes(tables: Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, str] | None = None) -> bytes:
    """A sealed Parquet file of tables that have the schema.

    `metadata` is text for the file's footer; it is read when all tables are written.
    """
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({**(metadata or {}), _KEY: _BLANK})
    blank = sink.getbuffer()
    found = _find(blank)
    assert found is not None, "the file has no place for its seal"
    seal = hashlib.sha256(blank).hexdigest().encode()
    blank[found : found + len(seal)] = seal
    return bytes(blank)


def seal_of(data: bytes) -> Seal:
    """Whether a file is as it was written."""
    found = _find(data)
    if found is None:
        return Seal.MISSING
    digest = hashlib.sha256(memoryview(data)[:found])
    digest.update(_BLANK.encode())
    digest.update(memoryview(data)[found + len(_BLANK) :])
    return Seal.INTACT if digest.hexdigest().encode() == data[found : found + len(_BLANK)] else Seal.BROKEN


def seal_text(data: bytes) -> str | None:
    """The seal that a file has, 64 hex digits, whether it is right or not; None for a file without one."""
    found = _find(data)
    return None if found is None else data[found : found + len(_BLANK)].decode()


def read_sealed(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file. Raises pyarrow's ArrowInvalid for one that is damaged; a missing seal is let through."""
    if seal_of(data) is Seal.BROKEN:
        raise pa.ArrowInvalid("it was changed after it was written (its checksum is wrong)")
    return read_parquet(data, columns)


def read_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file whatever its seal says. Raises pyarrow's ArrowInvalid for one that is damaged."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        # On this thread alone: a pool of Arrow's that lets go of Python's buffer while the interpreter ends aborts it.
        return file.read(columns, use_threads=False)
    except Exception as error:  # noqa: BLE001 - a damaged footer leads anywhere
        raise pa.ArrowInvalid(f"{type(error).__name__}: {error}") from None


def _find(data: bytes | memoryview) -> int | None:
    """Where the seal is: the last one, since what comes before the footer is the rows', and may say anything."""
    seals = [*_SEAL.finditer(data, max(0, len(data) - _footer_bytes(data)))]
    return seals[-1].start(1) if seals else None


def _footer_bytes(data: bytes | memoryview) -> int:
    """Bytes of the file's end that hold the footer; all where the end cannot be believed."""
    if len(data) < 8:
        return len(data)
    return int.from_bytes(data[-8:-4], "little") + 8
