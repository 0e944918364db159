"""Connections to web servers that keep within a boundary: at every redirect, at the address that is connected to."""

import socket
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies

from aiohttp import ClientRequest, ClientResponse, ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from fakescan.storage.prefixes import Boundary, is_address, is_public
from fakescan.storage.url import redact
from fakevlm.errors import ErrorCode, ImageError

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""HTTP statuses with which a server sends its client elsewhere."""


class BoundedResolver(AbstractResolver):
    """Looks up hosts, and leaves out the addresses that the boundary forbids for them.

    The connection is made to an address that was checked: a name that means another address at its next look-up gains
    nothing by it. Raises `ImageError` (denied) where none is left.
    """

    def __init__(self, boundary: Boundary, *, public_only: bool = False) -> None:
        self._boundary, self._public_only = boundary, public_only
        self._resolver: ThreadedResolver | None = None
        self._private: set[str] = set()
        self._sent_to: set[str] = set()
        self._proxies = {urlsplit(proxy).hostname for proxy in getproxies().values()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses that may be connected to."""
        if self._resolver is None:
            self._resolver = ThreadedResolver()
        found = await self._resolver.resolve(host, port, family)
        public = [address for address in found if is_public(address["host"])]
        name = _name(host)
        if len(public) < len(found):
            self._private.add(name)
        if not self._must_be_public(name):
            return found
        if not public:
            raise self._refusal(host)
        return public

    def is_private(self, url: URL) -> bool:
        """Whether a server that was asked is at an address that is not public, as far as is known."""
        host = _name(url.raw_host or "")
        return not is_public(host) if is_address(host) else host in self._private

    def refuse_private(self, url: URL) -> None:
        """Raise `ImageError` for an address that is written out and not public."""
        host = _name(url.raw_host or "")
        if is_address(host) and not is_public(host):
            raise self._refusal(host)

    def send_to(self, url: URL) -> None:
        """A public server redirects here: from now on its host must be at a public address. Raises `ImageError`."""
        self.refuse_private(url)
        self._sent_to.add(_name(url.raw_host or ""))

    async def close(self) -> None:
        """Nothing is open."""

    def _must_be_public(self, host: str) -> bool:
        if host in self._proxies:
            return False
        if self._boundary.prefixes is not None:
            return not self._boundary.may_be_private(host)
        return self._public_only or host in self._sent_to

    def _refusal(self, host: str) -> ImageError:
        if self._boundary.prefixes is not None:
            why = "which only hosts in private_hosts, and addresses that are themselves allowed prefixes, may have"
        else:
            why = "to which a server of the internet may not redirect"
        return ImageError(ErrorCode.DENIED, f"{host} is at an address of a private network, {why}")


def refuse_outside(url: str, boundary: Boundary) -> None:
    """Raise `ImageError` (denied) for an address that lies below no allowed prefix."""
    if not boundary.allows(url):
        raise ImageError(ErrorCode.DENIED, f"the address leads to {redact(url)}, which lies below no allowed prefix")


def bounded_client(boundary: Boundary) -> Callable[..., Awaitable[ClientSession]]:
    """Makes sessions that follow redirects within the boundary only, for fsspec's file system."""

    async def client(**options: Any) -> ClientSession:
        resolver = BoundedResolver(boundary)

        async def check(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
            refuse_outside(str(request.url), boundary)
            response = await handler(request)
            target = response.headers.get("Location")
            if response.status in REDIRECTS and target and boundary.prefixes is None:
                following = URL(urljoin(str(request.url), target), encoded=True)
                if not resolver.is_private(request.url):
                    resolver.send_to(following)
            return response

        return ClientSession(connector=TCPConnector(resolver=resolver), middlewares=(check,), **options)

    return client


def _name(host: str) -> str:
    return host.lower().rstrip(".")


@cache
def s3_http_session() -> Any:
    """The class of HTTP sessions for S3 clients: as botocore's, and unlike aiobotocore's, it follows no redirect.

    A server could send the client anywhere with one. A bucket in another region is found by botocore itself, among
    Amazon's own names.
    """
    from aiobotocore.httpsession import AIOHTTPSession

    class Session(AIOHTTPSession):  # type: ignore[misc]
        async def _get_session(self, proxy_url: str | None) -> Any:
            return _Unredirected(await super()._get_session(proxy_url))

    return Session


class _Unredirected:
    """A session whose requests end with the first answer."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def request(self, method: str, url: URL, **options: Any) -> ClientResponse:
        return await self._session.request(method, url, allow_redirects=False, **options)
