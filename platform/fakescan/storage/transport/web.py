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
    read_on,
    refuse_too_large,
    span_header,
    version_of_headers,
)
from fakescan.storage.transport.bytes_in_flight import UNBOUNDED, Room
from fakescan.storage.url import expired_at, web_address
from fakescan.storage.web_client import REDIRECTS, BoundedResolver, refuse_outside
from fakevlm.errors import ErrorCode, ImageError

_MAX_REDIRECTS = 10
_REFUSED = frozenset({400, 401, 403})


class WebTransport:
    """GET from any web server: redirects followed, signed queries sent exactly as the manifest has them.

    Headers from the store's options go to the server that is named, not to where it redirects.
    """

    def __init__(self, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> None:
        self._max_bytes, self._connections, self._timeout_s = max_bytes, connections, timeout_s
        headers = store.resolved().options.get("headers")
        self._headers: dict[str, str] = dict(headers.get_secret_value()) if headers else {}  # type: ignore[arg-type]
        self._boundary = store.boundary
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._resolver = BoundedResolver(self._boundary)

    def _open(self, *, public_only: bool = False) -> aiohttp.ClientSession:
        """The session for all addresses of the boundary, or for those of the internet."""
        if public_only not in self._sessions:
            resolver = BoundedResolver(self._boundary, public_only=True) if public_only else self._resolver
            self._sessions[public_only] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=300, resolver=resolver),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(10.0, self._timeout_s)),
                headers={"Accept-Encoding": "identity", "User-Agent": "fakescan"},
                auto_decompress=False,
                trust_env=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions[public_only]

    async def read(self, request: Request, room: Room = UNBOUNDED) -> Body:
        headers = {**self._headers, **span_header(request)}
        if request.etag and not request.etag.startswith("W/"):  # If-Match never accepts a weak tag
            headers["If-Match"] = f'"{request.etag}"'
        url = URL(web_address(request.uri), encoded=True)
        # aiohttp would follow redirects itself, but it normalises them, which breaks some signatures.
        from_public = False
        for _ in range(_MAX_REDIRECTS):
            refuse_outside(str(url), self._boundary)
            async with self._open(public_only=from_public).get(url, headers=headers, allow_redirects=False) as response:
                target = response.headers.get("Location")
                if response.status in REDIRECTS and target:
                    following = URL(web_address(urljoin(str(url), target)), encoded=True)
                    if following.origin() != url.origin():
                        headers = {name: value for name, value in headers.items() if name not in self._headers}
                    from_public = self._leaves_public(url, following, from_public=from_public)
                    url = following
                    continue
                if response.status in _REFUSED and (ended := expired_at(request.uri)):
                    raise ImageError(ErrorCode.DENIED, f"the presigned address expired on {ended:%Y-%m-%d %H:%M} UTC")
                if response.status >= 300:
                    raise aiohttp.ClientResponseError(
                        response.request_info,
                        (),
                        status=response.status,
                        message=response.reason or "",
                        headers=response.headers,
                    )
                check_etag(request, response.headers.get("ETag"))
                data = await _read_response(response, request, room, self._max_bytes)
                return Body(data, version_of_headers(response.headers))
        raise ImageError(ErrorCode.FETCH_FAILED, f"more than {_MAX_REDIRECTS} redirects")

    def _leaves_public(self, url: URL, following: URL, *, from_public: bool) -> bool:
        """Whether a redirect comes from the internet, and so must lead to it. Raises `ImageError` where it does not."""
        if self._boundary.prefixes is not None:
            return False  # the prefixes say it
        if not from_public and self._resolver.is_private(url):
            return False
        self._resolver.refuse_private(following)
        return True

    async def renew(self) -> None:
        """Headers with secrets are the operator's; there is nothing to read again."""

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()


async def _read_response(response: aiohttp.ClientResponse, request: Request, room: Room, max_bytes: int) -> bytes:
    """The body of a 200 or 206 answer, never holding much more than `max_bytes`."""
    length = response.content_length
    whole = request.length is None
    if whole:
        refuse_too_large(length, max_bytes)
    elif response.status != 206:
        raise ImageError(ErrorCode.FETCH_FAILED, "the server ignores byte ranges, which reading from a tar needs")
    if length is not None:
        await room.reserve(length)
        body = await response.content.read(-1)  # at most `length` bytes; fewer raise ClientPayloadError
    else:
        body = await read_on(response.content.iter_any(), room, max_bytes)
    if whole:
        check_size(request, len(body))
        return await decoded(body, response.headers.get("Content-Encoding"), room, max_bytes)
    if len(body) != request.length:
        raise ImageError(ErrorCode.CHANGED, f"{REPLACED}: the span ends early")
    return body
