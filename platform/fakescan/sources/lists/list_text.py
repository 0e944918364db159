"""The text of a list: unpacked, decoded and cut into lines in bounded memory, with the place where it breaks off."""

import codecs
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pyarrow as pa
from fsspec.compression import compr

from fakescan.sources.reading import Reading
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.store import Store
from fakescan.storage.store_reader import StoreReader
from fakescan.storage.url import redact, redact_text, scheme_of
from fakevlm.errors import UserError

MAX_LINE = 2**25
"""Characters of one line or record; more is not a list."""

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
"""Endings of compressed lists. What a file is compressed with is read from its first bytes."""

_CHUNK = 2**20
_SIGNATURES = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_ENCODINGS = {  # the longer marks first: that of UTF-16 begins that of UTF-32
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NO_LISTS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG\r\n": "a PNG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image or another RIFF file",
    b"PK\x03\x04": "a ZIP file, as spreadsheets are",
    b"PAR1": "a Parquet file without that extension",
    b"%PDF": "a PDF file",
    b"<!doctype html": "a web page, perhaps of a login",
    b"<html": "a web page, perhaps of a login",
    b"<!--": "a web page, perhaps of a login",
    b"<?xml": "an XML file",
}

Lines = Iterator[tuple[int, list[str]]]
"""Batches of lines with their ends, each with the number of its first line, from 1."""


class BrokenTextError(Exception):
    """The list cannot be read any further; the message says why."""


@contextmanager
def open_text(url: str, store: Store) -> Iterator[Iterator[str]]:
    """The decoded text in pieces of about a megabyte; bytes that are not UTF-8 become surrogates.

    Raises `UserError` for what cannot be read or is no list; the iterator raises `BrokenTextError` where it breaks off.
    """
    name = redact(url)
    try:
        filesystem, path = store.filesystem(url)
        if scheme_of(url) == "http":  # read whole: many servers neither tell sizes nor serve ranges
            source = StoreReader(url, lambda: io.BytesIO(filesystem.cat_file(path)))
        else:
            source = StoreReader(url, lambda: filesystem.open(path, "rb", block_size=2**22))
    except store_errors() as error:
        raise _unreadable(name, error) from None
    with source.file:
        raw = io.BufferedReader(cast(Any, source), _CHUNK)
        try:
            start = raw.peek(512)
        except store_errors() as error:
            raise _unreadable(name, error) from None
        read = _unpacked(raw, start)
        yield _decoded(read, source, name)


def _unreadable(name: str, error: Exception) -> UserError:
    return error if isinstance(error, UserError) else UserError(f"cannot read {name}: {classify(error)[1]}")


def _unpacked(raw: io.BufferedReader, start: bytes) -> Callable[[], bytes]:
    """Reads the next bytes, those before damage first."""
    kind = next((kind for signature, kind in _SIGNATURES.items() if start.startswith(signature)), None)
    if kind is None:
        return lambda: raw.read1(_CHUNK)
    if kind == "zstd":  # fsspec has it only with a package that Arrow makes needless
        stream: Any = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return lambda: bytes(stream.read(_CHUNK))
    stream = compr[kind](raw, mode="rb")
    return lambda: bytes(stream.read1(_CHUNK))


def _decoded(read: Callable[[], bytes], source: StoreReader, name: str) -> Iterator[str]:
    def next_bytes() -> bytes:
        try:
            return read()
        except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, pa.ArrowException) as error:
            if source.error is not None:
                raise _unreadable(name, source.error) from None
            raise BrokenTextError(f"is broken off or damaged in its compression: {redact_text(str(error))}") from None

    data, broken = _gathered(next_bytes)
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for signature, kind in _NO_LISTS.items():
        if start.startswith(signature.lower()):
            raise UserError(f"{name} is {kind}, not a list of addresses")
    encoding = _encoding(data)
    # A surrogate can stand for a stray byte, but not for half a character of UTF-16.
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding == "utf-8-sig" else "replace")
    while data:
        yield decoder.decode(data)
        if broken:
            raise broken
        data, broken = _gathered(next_bytes)
    if broken:
        raise broken
    yield decoder.decode(b"", True)


def _gathered(read: Callable[[], bytes]) -> tuple[bytes, BrokenTextError | None]:
    """About a megabyte, or the rest before the end or before damage, and the damage."""
    parts: list[bytes] = []
    length = 0
    try:
        while length < _CHUNK and (part := read()):
            parts.append(part)
            length += len(part)
    except BrokenTextError as error:
        return b"".join(parts), error
    return b"".join(parts), None


def _encoding(start: bytes) -> str:
    for mark, encoding in _ENCODINGS.items():
        if start.startswith(mark):
            return encoding
    if len(start) >= 4 and start[1] == start[3] == 0 != start[0] and start[2]:
        return "utf-16-le"
    if len(start) >= 4 and start[0] == start[2] == 0 != start[1] and start[3]:
        return "utf-16-be"
    return "utf-8-sig"


def list_lines(chunks: Iterator[str], name: str, reading: Reading, max_line: int = MAX_LINE) -> Lines:
    """The lines, which end in CR, LF or both. Damage is counted as one, with the line in which it is, or refused."""
    number, length = 1, 0
    parts: list[str] = []  # of a line that goes on
    ahead: str | None = ""
    while ahead is not None:
        chunk, broken = ahead, None
        try:
            ahead = next((chunk for chunk in chunks if chunk), None)
        except BrokenTextError as error:
            ahead, broken = None, error
        parts.append(chunk)
        length += len(chunk)
        if ahead is None or "\n" in chunk or "\r" in chunk:
            lines = io.StringIO("".join(parts), newline="").readlines()
            # The last line may go on, be it with the LF of its CR.
            parts = [lines.pop()] if lines and (ahead is not None or broken) else []
            length = sum(map(len, parts))
            if lines:
                yield number, lines
                number += len(lines)
        if broken:
            reading.damaged(f"{name} line {number}", str(broken))
        elif length > max_line:
            reading.damaged(f"{name} line {number}", f"has more than {max_line} characters: nothing after it is read")
            return
