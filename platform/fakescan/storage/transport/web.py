"""GET from any web server."""

from urllib.parse import urljoin

import aiohttp
from yarl import URL

from fakescan.storage.store import Store
from fakescan.storage.transport.base import (
    REPLACED,
    Body,
    Request,
    check_etag,
    check_size,
    decoded,
    refuse_too_large,
    span_header,
    version_of_headers,
)
from fakescan.storage.url import expired_at, web_address
from fakevlm.errors import ErrorCode, ImageError

_REDIRECTS = 10
_REDIRECT_STATUS = frozenset({301, 302, 303, 307, 308})
_REFUSED = frozenset({400, 401, 403})


class WebTransport:
    """GET from any web server: redirects followed, signed queries sent exactly as the manifest has them.

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

    async def read(self, request: Request) -> Body:
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
                if response.status in _REFUSED and (ended := expired_at(request.uri)):
                    raise ImageError(ErrorCode.DENIED, f"the presigned address expired on {ended:%Y-%m-%d %H:%M} UTC")
                if response.status >= 300:
                    raise aiohttp.ClientResponseError(
                        response.request_info, (), status=response.status, message=response.reason or ""
                    )
                check_etag(request, response.headers.get("ETag"))
                data = await _read_response(response, request, self._max_bytes)
                return Body(data, version_of_headers(response.headers))
        raise ImageError(ErrorCode.FETCH_FAILED, f"more than {_REDIRECTS} redirects")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _read_response(
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
        raise ImageError(ErrorCode.CHANGED, f"{REPLACED}: the span ends early")
    return body
