"""How the bytes of one object, or of a span of it, come from each kind of store."""

import asyncio
import errno
import os
import stat
import zlib
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urljoin

import aiohttp
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from yarl import URL

from fakescan.address import file_path, web_address
from fakescan.store import Store
from fakevlm.errors import ErrorCode, ImageError

LOCAL_ETAG = "mtime-"
"""Prefix of the etag that a local file gets: its modification time in nanoseconds."""

_REDIRECTS = 10
_REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})
_REPLACED = "the object is no longer the one in the manifest"


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


class Transport(Protocol):
    """Reads objects of one kind of store. Used on one event loop."""

    async def read(self, request: Request) -> bytes:
        """The bytes. `ImageError` for what a retry cannot mend; else the store's own exceptions, for `classify`."""

    async def close(self) -> None:
        """Close the connections."""


def open_transport(scheme: str, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> Transport:
    """The transport for a scheme other than `file`. Creates no connection yet."""
    if scheme == "s3":
        from fakescan.s3_transport import S3Transport

        return S3Transport(store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
    if scheme == "http":
        return WebTransport(store, max_bytes=max_bytes, connections=connections, timeout_s=timeout_s)
    return OtherTransport(store, max_bytes=max_bytes)


def read_local(request: Request, max_bytes: int) -> bytes:
    """A local file, or a span of it; checked against the manifest's size and modification time."""
    path = file_path(request.uri)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hang the scan
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise ImageError(ErrorCode.FETCH_FAILED, "not a regular file") from None
        raise
    with open(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(ErrorCode.FETCH_FAILED, "not a regular file")
        if (request.etag or "").startswith(LOCAL_ETAG) and request.etag != f"{LOCAL_ETAG}{status.st_mtime_ns}":
            raise ImageError(ErrorCode.CHANGED, "the file was modified after it was listed")
        check_size(request, status.st_size)
        if request.length is None:
            refuse_too_large(status.st_size, max_bytes)
        wanted = status.st_size if request.length is None else request.length
        file.seek(request.first or 0)
        pieces = []
        while wanted > 0 and (piece := file.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    if wanted:
        raise ImageError(ErrorCode.CHANGED, "the file became shorter while it was read")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
        raise ImageError(ErrorCode.CHANGED, f"{_REPLACED}: {size} bytes instead of {request.size}")


def check_etag(request: Request, etag: str | None) -> None:
    """`changed` when the store names another version than the manifest."""
    if request.etag and etag and normal_etag(etag) != request.etag:
        raise ImageError(ErrorCode.CHANGED, _REPLACED)


def normal_etag(etag: str) -> str:
    """An entity tag without its quotes; a weak one keeps its `W/`."""
    weak, _, tag = etag.strip().rpartition("W/")
    return f"{'W/' if weak or etag.strip().startswith('W/') else ''}{tag.strip().strip(chr(34))}"


def decoded(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """The body without its Content-Encoding, as a browser would show it.

    An object that claims to be gzipped and is not is taken as it is: uploads with a wrong header are common.
    """
    name = (encoding or "").strip().lower()
    if name in {"gzip", "x-gzip"} and body.startswith(b"\x1f\x8b"):
        window = 31
    elif name == "deflate" and body[:1] == b"\x78":
        window = 15
    else:
        return body
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ImageError(ErrorCode.TRUNCATED, f"the {name} encoding of the object is broken: {error}") from None
    if len(plain) > max_bytes:
        raise ImageError(ErrorCode.TOO_LARGE, f"the object has more than {max_bytes} bytes once decompressed")
    if not stream.eof:
        raise ImageError(ErrorCode.TRUNCATED, f"the {name} encoding of the object ends early")
    return plain


async def read_response(
    response: aiohttp.ClientResponse, request: Request, max_bytes: int, *, known_size: bool = True
) -> bytes:
    """The body of a 200 or 206 answer, never holding much more than `max_bytes`."""
    length = response.content_length
    whole = request.length is None
    if whole:
        refuse_too_large(length, max_bytes)
    elif response.status != 206:
        raise ImageError(ErrorCode.FETCH_FAILED, "the server ignores byte ranges, which reading from a tar needs")
    if length is not None:
        body = await response.content.read(-1)  # at most `length` bytes; fewer raise ClientPayloadError
    else:
        pieces, received = [], 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            received += len(piece)
            if received > max_bytes:
                raise ImageError(ErrorCode.TOO_LARGE, f"the object has more than {max_bytes} bytes")
        body = b"".join(pieces)
    if whole:
        if known_size:
            check_size(request, len(body))
        return decoded(body, response.headers.get("Content-Encoding"), max_bytes)
    if len(body) != request.length:
        raise ImageError(ErrorCode.CHANGED, f"{_REPLACED}: the span ends early")
    return body


def span_header(request: Request) -> dict[str, str]:
    """The Range header of a request for a span; none for a whole object."""
    if request.first is None or request.length is None:
        return {}
    return {"Range": f"bytes={request.first}-{request.first + request.length - 1}"}


class WebTransport:
    """GET from any web server: redirects followed, signed queries sent exactly as they stand in the manifest.

    Headers from the store's options go to the server that is named, not to where it redirects.
    """

    def __init__(self, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> None:
        self._max_bytes, self._connections, self._timeout_s = max_bytes, connections, timeout_s
        headers = store.resolved().options.get("headers")
        self._headers: dict[str, str] = dict(headers.get_secret_value()) if headers else {}  # type: ignore[arg-type]
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=300),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(10.0, self._timeout_s)),
                headers={"Accept-Encoding": "identity", "User-Agent": "fakescan"},
                auto_decompress=False,
                trust_env=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def read(self, request: Request) -> bytes:
        headers = {**self._headers, **span_header(request)}
        if request.etag and not request.etag.startswith("W/"):  # If-Match never accepts a weak tag
            headers["If-Match"] = f'"{request.etag}"'
        url = URL(web_address(request.uri), encoded=True)
        # aiohttp would follow redirects itself, but it normalises them, which breaks some signatures.
        for _ in range(_REDIRECTS):
            async with self._open().get(url, headers=headers, allow_redirects=False) as response:
                target = response.headers.get("Location")
                if response.status in _REDIRECT_STATUS and target:
                    following = URL(web_address(urljoin(str(url), target)), encoded=True)
                    if following.origin() != url.origin():
                        headers = {name: value for name, value in headers.items() if name not in self._headers}
                    url = following
                    continue
                if response.status >= 300:
                    raise aiohttp.ClientResponseError(
                        response.request_info, (), status=response.status, message=response.reason or ""
                    )
                check_etag(request, response.headers.get("ETag"))
                return await read_response(response, request, self._max_bytes)
        raise ImageError(ErrorCode.FETCH_FAILED, f"more than {_REDIRECTS} redirects")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class OtherTransport:
    """Any other fsspec store, such as Google Cloud Storage and Azure.

    These have no common conditional read: the version is asked for after the bytes when the manifest knows one.
    """

    def __init__(self, store: Store, *, max_bytes: int) -> None:
        self._store, self._max_bytes = store, max_bytes

    async def read(self, request: Request) -> bytes:
        filesystem, path = self._store.filesystem(request.uri, attempts=1)
        if request.length is None:
            if request.size is None:
                refuse_too_large((await _await(filesystem, "info", path)).get("size"), self._max_bytes)
            body = bytes(await _await(filesystem, "cat_file", path))
            check_size(request, len(body))
        else:
            first = request.first or 0
            body = bytes(await _await(filesystem, "cat_file", path, start=first, end=first + request.length))
            if len(body) != request.length:
                raise ImageError(ErrorCode.CHANGED, f"{_REPLACED}: the span ends early")
        if request.etag:
            check_etag(request, entry_etag(await _await(filesystem, "info", path)))
        return body

    async def close(self) -> None:
        """The file system closes its own connections."""


async def _await(filesystem: AbstractFileSystem, method: str, *arguments: object, **options: object) -> Any:
    """A file system's method, on its own event loop if it has one, else on a thread.

    Not an asynchronous instance on this loop: some close their sessions only on the loop that fsspec runs.
    """
    if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
        coroutine = getattr(filesystem, f"_{method}")(*arguments, **options)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, filesystem.loop))
    return await asyncio.to_thread(getattr(filesystem, method), *arguments, **options)


def entry_etag(info: dict[str, Any]) -> str | None:
    """The version that a store's listing gives an object, unquoted."""
    for name in ("ETag", "etag", "generation", "md5Hash", "content_md5"):
        if info.get(name):
            return normal_etag(str(info[name]))
    return None
