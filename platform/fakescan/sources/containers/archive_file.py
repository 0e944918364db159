"""Tar files as their readers see them: bytes at offsets that only grow, unpacked on the way if they are compressed."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

from fakescan.isolation.time_limit import uncounted
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

_UNPACKED_CHUNK = 2**15
"""Bytes to unpack at once. What is in the same chunk before damage is lost, too."""


class NoTarError(Exception):
    """The file is of another kind; the message says which, and what to do."""


class BrokenStreamError(Exception):
    """The compressed stream cannot be unpacked any further."""


def is_compressed(uri: str) -> bool:
    """Whether a tar file is called as compressed ones are."""
    name = uri.partition("?")[0] if scheme_of(uri) == "http" else uri
    return name.lower().endswith(COMPRESSED_EXTENSIONS)


class ArchiveFile:
    """Bytes of a file at offsets. `size` in bytes; None for one that can only be read forward, each byte once.

    `chunk`: bytes to read at once. `data`: what was read from the beginning of the file already.
    """

    def __init__(self, file: IO[bytes], size: int | None, chunk: int, data: bytes = b"") -> None:
        self.size = size
        self._file, self._chunk = file, chunk
        self._start, self._data = 0, data

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
        while at > self.position:
            self._start, self._data = self.position, self._file.read(self._chunk)
            if not self._data:
                return
        pieces = [self._data[at - self._start :]]
        missing = count - len(pieces[0])
        try:
            while missing > 0 and (piece := self._file.read(max(self._chunk, missing))):
                pieces.append(piece)
                missing -= len(piece)
        finally:
            self._start, self._data = at, b"".join(pieces)


@contextmanager
def open_archive(uri: str, store: Store) -> Iterator[ArchiveFile]:
    """A tar file, unpacked on the way if its first bytes say that it is compressed.

    `NoTarError` for other archives, and for a compressed file that is not called so: byte ranges of it are no members.
    """
    filesystem, path = store.filesystem(uri)
    streamed = is_compressed(uri)
    local = is_local(filesystem)
    options: dict[str, Any] = {} if local else {"block_size": _REMOTE_CHUNK, "cache_type": "none"}  # the chunk is one
    if streamed and not local:
        options["block_size"] = 0 if scheme_of(uri) == "http" else _STREAM_CHUNK  # 0: one request, without ranges
    with uncounted(unless=local):
        opened = filesystem.open(path, "rb", **options)
    with opened as file:
        chunk = _LOCAL_CHUNK if local else _REMOTE_CHUNK
        first = b""
        while len(first) < _SIGNATURE_BYTES and (piece := _read(file, chunk, local=local)):
            first += piece
        kind = next((name for start, name in _SIGNATURES.items() if first.startswith(start)), None)
        if kind is not None and kind not in _EXTENSION:
            raise NoTarError(f"is a {kind} file: unpack it, or pack it again as .tar")
        if kind is not None and not streamed:
            raise NoTarError(f"is compressed with {kind} without saying so: rename it to end in {_EXTENSION[kind]}")
        size = None if streamed else _size(file)
        if size is not None:
            yield ArchiveFile(file, size, chunk, first)
            return
        stream = _Stream(io.BufferedReader(_Delivery(first, file, local=local), _STREAM_CHUNK), kind)
        yield ArchiveFile(cast(IO[bytes], stream), None, _UNPACKED_CHUNK)


def _read(file: Any, count: int, *, local: bool) -> bytes:
    """Up to `count` bytes. A store that is waited for has limits of its own, a local disk has not."""
    with uncounted(unless=local):
        return bytes(file.read(count))


def _size(file: Any) -> int | None:
    try:
        return int(file.seek(0, io.SEEK_END))
    except (OSError, ValueError, TypeError):  # a server that tells no size
        return None


class _Delivery(io.RawIOBase):
    """A file of a store from its beginning on; `failure` keeps the store's error apart from those of unpacking."""

    def __init__(self, first: bytes, file: Any, *, local: bool) -> None:
        self._first, self._file, self._local = first, file, local
        self.failure: Exception | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        try:
            data = self._first[: len(buffer)] or _read(self._file, len(buffer), local=self._local)
        except Exception as error:  # whatever the store's library raises
            self.failure = error
            raise
        self._first = self._first[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class _Stream:
    """Reads what a compressed stream holds."""

    def __init__(self, packed: io.BufferedReader, kind: str | None) -> None:
        self._packed = packed
        unpacked = _unpacked(packed, kind)
        self._read = getattr(unpacked, "read1", None) or unpacked.read  # `read` would lose what it has before damage

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, none at the end. `BrokenStreamError`, or the store's errors."""
        try:
            return bytes(self._read(count))
        except _UNPACKING_ERRORS as error:
            failure = cast(_Delivery, self._packed.raw).failure
            if failure is not None:
                raise failure from None
            raise BrokenStreamError(" ".join(str(error).split())) from None


class _Streams:
    """bz2 or xz streams, one behind the other. Python's own readers end without a word where a later one is damaged."""

    def __init__(self, packed: io.BufferedReader, new: Callable[[], Any]) -> None:
        self._packed, self._new = packed, new
        self._stream, self._waiting = new(), b""

    def read1(self, count: int) -> bytes:
        """1 to `count` bytes, none at the end."""
        while True:
            if self._stream.eof:
                self._waiting = self._stream.unused_data.lstrip(b"\0")  # xz files may be padded
                while not self._waiting and (more := self._packed.read1()):
                    self._waiting = more.lstrip(b"\0")
                if not self._waiting:
                    return b""
                self._stream = self._new()
            elif self._stream.needs_input and not self._waiting:
                self._waiting = self._packed.read1()
                if not self._waiting:
                    raise EOFError("it ends before the end of its stream")
            data = self._stream.decompress(self._waiting, count)
            self._waiting = b""
            if data:
                return bytes(data)


def _unpacked(packed: io.BufferedReader, kind: str | None) -> Any:
    match kind:
        case "gzip":
            return gzip.GzipFile(fileobj=packed)
        case "bz2":
            return _Streams(packed, bz2.BZ2Decompressor)
        case "xz":
            return _Streams(packed, lzma.LZMADecompressor)
        case "zstd":
            return pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), kind)
    return packed
