"""The request that every transport takes, its checks of an answer, and the form of entity tags."""

import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol

from fakescan.storage.transport.bytes_in_flight import STEP, UNBOUNDED, Room
from fakevlm.errors import ErrorCode, ImageError

LOCAL_ETAG = "mtime-"
"""Prefix of the etag that a local file gets: its modification time in nanoseconds."""

REPLACED = "the object is no longer the one in the manifest"
"""The message of `changed`."""

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Request:
    """One read: of a whole object, or with `first` (byte offset) and `length` (bytes) of a span of it.

    `etag` and `size` (bytes of the whole object) are what the manifest says, None where it does not know.
    """

    uri: str
    etag: str | None = None
    size: int | None = None
    first: int | None = None
    length: int | None = None


class ObjectVersion(NamedTuple):
    """Which state of an object was read; None for what its store does not say."""

    etag: str | None = None
    """The entity tag, unquoted."""
    version: str | None = None
    """The id or generation that a store with versions gives."""
    last_modified: datetime | None = None


UNKNOWN_VERSION = ObjectVersion()


class Body(NamedTuple):
    """The bytes of an object or of a span of it, and the state that they are of."""

    data: bytes
    version: ObjectVersion


class Transport(Protocol):
    """Reads objects of one kind of store. Used on one event loop."""

    async def read(self, request: Request, room: Room = UNBOUNDED) -> Body:
        """The bytes, for which `room` is made as their number is known.

        `ImageError` for what a retry cannot fix; else the store's own exceptions, for `classify`.
        """

    async def renew(self) -> None:
        """Make the client again, with the credentials that files and services have now."""

    async def close(self) -> None:
        """Close the connections."""


def refuse_too_large(size: int | None, max_bytes: int) -> None:
    """`too_large` when a size in bytes that is known before reading is over the limit."""
    if size is not None and size > max_bytes:
        raise too_large(size, max_bytes)


def too_large(size: int, max_bytes: int) -> ImageError:
    """The error of an image of `size` bytes that is over the limit."""
    return ImageError(ErrorCode.TOO_LARGE, f"the object has {size} bytes, more than the limit of {max_bytes}")


def check_size(request: Request, size: int) -> None:
    """`changed` when the object has not the size in bytes that the manifest knows."""
    if request.size is not None and request.size != size:
        raise ImageError(ErrorCode.CHANGED, f"{REPLACED}: {size} bytes instead of {request.size}")


def check_etag(request: Request, etag: str | None) -> None:
    """`changed` when the store names another version than the manifest."""
    if request.etag and etag and normal_etag(etag) != request.etag:
        raise ImageError(ErrorCode.CHANGED, REPLACED)


def normal_etag(etag: str) -> str:
    """An entity tag without its quotes; a weak one keeps its `W/`."""
    weak, _, tag = etag.strip().rpartition("W/")
    return f"{'W/' if weak or etag.strip().startswith('W/') else ''}{tag.strip().strip(chr(34))}"


async def decoded(body: bytes, encoding: str | None, room: Room, max_bytes: int) -> bytes:
    """The body without its Content-Encoding, as a browser would show it; room is made for it as it grows.

    An object that claims to be gzipped and is not is taken as it is: uploads with a wrong header are common.
    """
    name = (encoding or "").strip().lower()
    if name in {"gzip", "x-gzip"} and body.startswith(_GZIP):
        window = 31
    elif name == "deflate" and body[:1] == b"\x78":
        window = 15
    else:
        return body
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _decompressed(body, window):
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise ImageError(ErrorCode.TOO_LARGE, f"the object has more than {max_bytes} bytes once decompressed")
            if len(body) + size > room.size:
                await room.reserve(len(body) + size + STEP)
    except zlib.error as error:
        raise ImageError(ErrorCode.TRUNCATED, f"the {name} encoding of the object is broken: {error}") from None
    except EOFError:
        raise ImageError(ErrorCode.TRUNCATED, f"the {name} encoding of the object ends early") from None
    return b"".join(pieces)


def _decompressed(body: bytes, window: int) -> Iterator[bytes]:
    """At most `STEP` bytes at a time. Raises zlib.error, and EOFError for a body that ends early."""
    stream = zlib.decompressobj(window)
    position, packed = 0, b""
    while True:
        if not packed:
            packed = body[position : position + STEP]
            position += len(packed)
        piece = stream.decompress(packed, STEP)
        yield piece
        if stream.eof:
            packed = stream.unused_data
            more = packed[:2] + body[position : position + 2]
            if window != 31 or not more.startswith(_GZIP):
                return
            stream = zlib.decompressobj(window)  # what is packed in pieces follows one after the other
        elif not piece and not packed:
            raise EOFError
        else:
            packed = stream.unconsumed_tail


def span_header(request: Request) -> dict[str, str]:
    """The Range header of a request for a span; none for a whole object."""
    if request.first is None or request.length is None:
        return {}
    return {"Range": f"bytes={request.first}-{request.first + request.length - 1}"}


def version_of_headers(headers: Mapping[str, str]) -> ObjectVersion:
    """What the headers of a web server's answer say; names in any case."""
    etag = headers.get("ETag")
    return ObjectVersion(
        normal_etag(etag) if etag else None,
        headers.get("x-amz-version-id") or headers.get("x-goog-generation") or headers.get("x-ms-version-id"),
        _moment(headers.get("Last-Modified")),
    )


def version_of_entry(info: dict[str, Any]) -> ObjectVersion:
    """What a store's entry for an object says, in the names of fsspec's file systems."""
    versions = (info.get(name) for name in ("VersionId", "version_id", "generation"))
    moments = (info.get(name) for name in ("LastModified", "last_modified", "updated", "mtime", "modify"))
    version = next((str(found) for found in versions if found), None)
    return ObjectVersion(entry_etag(info), version, _moment(next((found for found in moments if found), None)))


def _moment(value: object) -> datetime | None:
    """A time in any of the forms that stores and web servers give; None for one that is no time."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)
        elif isinstance(value, int | float):
            value = datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def entry_etag(info: dict[str, Any]) -> str | None:
    """The version that a store's listing gives an object, unquoted."""
    for name in ("ETag", "etag", "generation", "md5Hash", "content_md5"):
        if info.get(name):
            return normal_etag(str(info[name]))
    return None


async def read_on(pieces: AsyncIterator[bytes], room: Room, max_bytes: int) -> bytes:
    """A body of unknown length, never holding much more than the limit. Raises `ImageError` (too_large)."""
    read: list[bytes] = []
    received = 0
    async for piece in pieces:
        read.append(piece)
        received += len(piece)
        if received > max_bytes:
            raise ImageError(ErrorCode.TOO_LARGE, f"the object has more than {max_bytes} bytes")
        if received > room.size:
            await room.reserve(received + STEP)
    return b"".join(read)
