"""Tar files as their readers see them: bytes at offsets that only grow, unpacked on the way if they are compressed."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

from fakescan.storage.store import Store, is_local
from fakescan.storage.url import scheme_of

PLAIN_EXTENSIONS = (".tar",)
COMPRESSED_EXTENSIONS = (*(".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"),)
"""File names of compressed tar files. Their members have no byte range of their own in the file."""

_SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
_EXTENSION = {"gzip": ".tar.gz", "bz2": ".tar.bz2", "xz": ".tar.xz", "zstd": ".tar.zst"}
_SIGNATURE_BYTES = 6
_UNPACKING_ERRORS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException)
_LOCAL_CHUNK = 2**15
_REMOTE_CHUNK = 2**18
"""Bytes read at once: small members come many to a request, big ones are jumped over."""

_STREAM_CHUNK = 2**22
"""Bytes per request where everything is read."""


class NoTarError(Exception):
    """The file is of another kind; the message says which, and what to do."""


class BrokenStreamError(Exception):
    """The compressed stream cannot be unpacked any further."""


def is_compressed(uri: str) -> bool:
    """Whether a tar file is called as compressed ones are."""
    name = uri.partition("?")[0] if scheme_of(uri) == "http" else uri
    return name.lower().endswith(COMPRESSED_EXTENSIONS)


class ArchiveFile:
    """Bytes of a file at offsets. `size` in bytes; None for one that can only be read forward, each byte once."""

    def __init__(self, file: IO[bytes], size: int | None, chunk: int) -> None:
        self.size = size
        self._file, self._chunk = file, chunk
        self._start, self._data = 0, b""

    @property
    def first(self) -> int:
        """Offset of the first byte that can be read."""
        return 0 if self.size is not None else self._start

    @property
    def position(self) -> int:
        """Offset of the first byte that was not read yet."""
        return self._start + len(self._data)

    def read(self, at: int, count: int) -> bytes:
        """Bytes `at` to `at + count - 1`, fewer at the end of the file. `BrokenStreamError`, or the store's errors."""
        start = at - self._start
        if not 0 <= start <= start + count <= len(self._data):
            self._refill(at, count)
            start = at - self._start
        return self._data[start : start + count]

    def reaches(self, end: int) -> bool:
        """Whether the file has `end` bytes."""
        if self.size is not None:
            return end <= self.size
        return end <= self.position or len(self.read(end - 1, 1)) == 1

    def _refill(self, at: int, count: int) -> None:
        if self.size is not None:
            self._file.seek(at)
            self._start, self._data = at, b""
        elif at < self._start:
            raise ValueError(f"byte {at} of a stream was passed")
        while self.position < at + count:
            missing = at + count - self.position if at <= self.position else 0  # before `at` nothing is kept
            piece = self._file.read(max(self._chunk, missing))
            if not piece:
                break
            kept = self._data[at - self._start :] if at < self.position else b""
            self._start, self._data = self.position - len(kept), kept + piece


@contextmanager
def open_archive(uri: str, store: Store) -> Iterator[ArchiveFile]:
    """A tar file, unpacked on the way if its first bytes say that it is compressed.

    `NoTarError` for other archives, and for a compressed file that is not called so: byte ranges of it are no members.
    """
    filesystem, path = store.filesystem(uri)
    streamed = is_compressed(uri)
    local = is_local(filesystem)
    options: dict[str, Any] = {} if local else {"block_size": _STREAM_CHUNK if streamed else _REMOTE_CHUNK}
    with filesystem.open(path, "rb", **options) as file:
        first = file.read(_SIGNATURE_BYTES)
        kind = next((name for start, name in _SIGNATURES.items() if first.startswith(start)), None)
        if kind is not None and kind not in _EXTENSION:
            raise NoTarError(f"is a {kind} file: unpack it, or pack it again as .tar")
        if kind is not None and not streamed:
            raise NoTarError(f"is compressed with {kind} without saying so: rename it to end in {_EXTENSION[kind]}")
        size = None if streamed else _size(file)
        if size is not None:
            yield ArchiveFile(file, size, _LOCAL_CHUNK if local else _REMOTE_CHUNK)
            return
        stream = _Stream(io.BufferedReader(_Delivery(first, file), _STREAM_CHUNK), kind)
        yield ArchiveFile(cast(IO[bytes], stream), None, _STREAM_CHUNK)


def _size(file: Any) -> int | None:
    try:
        return int(file.seek(0, io.SEEK_END))
    except (OSError, ValueError, TypeError):  # a server that tells no size
        return None


class _Delivery(io.RawIOBase):
    """A file of a store from its beginning on; `failure` keeps the store's error apart from those of unpacking."""

    def __init__(self, first: bytes, file: Any) -> None:
        self._first, self._file = first, file
        self.failure: Exception | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        try:
            data = self._first or self._file.read(len(buffer))
        except Exception as error:  # whatever the store's library raises
            self.failure = error
            raise
        self._first = b""
        buffer[: len(data)] = data
        return len(data)


class _Stream:
    """Reads what a compressed stream holds."""

    def __init__(self, packed: io.BufferedReader, kind: str | None) -> None:
        self._packed = packed
        self._file = _unpacked(packed, kind)

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, none at the end. `BrokenStreamError`, or the store's errors."""
        try:
            return bytes(self._file.read(count))
        except _UNPACKING_ERRORS as error:
            failure = cast(_Delivery, self._packed.raw).failure
            if failure is not None:
                raise failure from None
            raise BrokenStreamError(" ".join(str(error).split())) from None


def _unpacked(packed: io.BufferedReader, kind: str | None) -> Any:
    match kind:
        case "gzip":
            return gzip.GzipFile(fileobj=packed)
        case "bz2":
            return bz2.BZ2File(packed)
        case "xz":
            return lzma.LZMAFile(packed)
        case "zstd":
            return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), kind)
    return packed
