"""Bounds on request headers: uvicorn's fast parser has none, and no middleware sees headers that are incomplete."""

import asyncio
from typing import Any

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fakescan.serve.operation.tls import CertificateRenewal

MAX_HEADER_BYTES = 64 * 1024
HEADER_TIMEOUT_S = 20.0

_REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
}
_renewal = CertificateRenewal()
"""Of the one uvicorn in a proxy."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, which ends it when headers grow too long or take too long."""

    _framing_bytes = 0  # received since the last byte of a body, or since the previous message
    _in_headers = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected: its first headers are due."""
        super().connection_made(transport)
        _renewal.look(self.config)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Bytes of headers or of a body have come."""
        if self._in_headers and self._timer is None:
            self._arm()
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._framing_bytes > MAX_HEADER_BYTES:
            self._refuse(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come. Trailers after a chunked body are dropped, for they would be taken for headers."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers are complete."""
        self._in_headers = False
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body have come: those have bounds of their own. Trailers and chunk extensions count as headers."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is complete; the next headers have their time from their first byte on."""
        self._in_headers = True
        self._framing_bytes = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # the previous response is still being sent
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        self._disarm()
        if not self.transport.is_closing():
            if self._in_headers and (self.cycle is None or self.cycle.response_complete):
                self.transport.write(_REFUSALS[status])
            self.transport.close()


def bound_headers() -> None:
    """Makes every uvicorn that starts in this process from now on use `BoundedProtocol`."""
    auto.AutoHTTPProtocol = BoundedProtocol
