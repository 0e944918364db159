"""Bounds on a connection and on what comes before a request is complete, which no middleware sees.

uvicorn's fast parser has no bounds on headers, on requests that are sent ahead of their responses (pipelining), on
chunks of a byte each, on the time that a client takes to read a response, and on connections.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fakescan.serve.gate.bounds.client_address import PEER
from fakescan.serve.gate.bounds.connections import Activity, Connections, now
from fakescan.serve.gate.plain_parser import PlainParser
from fakescan.serve.operation.tls import CertificateRenewal

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_URL_BYTES = 8 * 1024
MAX_PIPELINED = 8
"""Requests that wait for the responses before theirs."""
MAX_SMALL_CHUNKS = 4_096
"""Chunks of a body beyond one for each 64 bytes; each costs the parser a call."""
HEADER_TIMEOUT_S = 20.0
DISCARD_TIMEOUT_S = 30.0
"""Seconds for which the rest of a body that was refused is read and thrown away, so that the client reads why."""
WRITE_TIMEOUT_S = 30.0
"""Seconds for which a client may not read what is sent to it."""

connections = Connections()
"""The connections of this process."""

_REFUSALS = {
    403: b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    501: b"HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
}
_renewal = CertificateRenewal()
"""Of the one uvicorn in a proxy."""


class _BoundError(Exception):
    """A bound is exceeded; raised in a callback of the parser, it stops the parser."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, which ends it when it takes too much or too long."""

    activity = Activity.IDLE
    active_since = 0.0
    _framing_bytes = 0  # received since the last byte of a body, or since the previous message
    _small_chunks = 0.0  # pieces of this body that came in one read with others, less one for each 64 bytes
    _is_first_piece = True
    _in_headers = True
    _in_body = False
    _refused = 0
    _upgrade: bytes | None = None  # the head of a request that offers one, from its headers until the parser stops
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parser = PlainParser(self)  # type: ignore[assignment]

    def connection_made(self, transport: Any) -> None:
        """A client has connected: its first headers are due."""
        super().connection_made(transport)
        _renewal.look(self.config)
        self._become(Activity.IDLE)
        if connections.add(self, self.client[0] if self.client else None):
            self._arm()
        else:
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        """Bytes of headers or of a body have come."""
        if self.transport.is_closing():
            return
        if self._in_headers and self._timer is None:
            self._arm()
        self._framing_bytes += len(data)
        self._is_first_piece = True
        super().data_received(data)
        if self._framing_bytes > MAX_HEADER_BYTES:
            self._refuse(431)

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(431)
        super().on_message_begin()
        self.scope[PEER] = self.client  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        """A piece of the URL has come."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._stop(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come. Trailers after a chunked body are dropped, for they would be taken for headers."""
        if self._in_headers:
            super().on_header(name, value)
            if len(self.headers) > MAX_HEADERS:
                self._stop(431)

    def on_headers_complete(self) -> None:
        """The headers are complete."""
        if self.parser.should_upgrade() and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(501)  # what follows would be no request
            self._upgrade = self._head_without_upgrade()
            return
        self._in_headers = False
        self._in_body = True
        self._small_chunks = 0.0
        self._disarm()
        self._become(Activity.UPLOADING)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body have come: those have bounds of their own. Trailers and chunk extensions count as headers."""
        self._framing_bytes = 0
        if self._is_first_piece:
            self._is_first_piece = False
        else:
            self._small_chunks = max(0.0, self._small_chunks + 1 - len(body) / 64)
            if self._small_chunks > MAX_SMALL_CHUNKS:
                self._stop(431)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is complete; the next headers have their time from their first byte on."""
        if self._upgrade is not None:
            return
        self._in_headers = True
        self._in_body = False
        self._framing_bytes = 0
        self._disarm()
        super().on_message_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._become(Activity.WORKING)

    def on_response_complete(self) -> None:
        """The response has been handed over; what of it is not sent in time is dropped, with the connection."""
        self._become(Activity.IDLE)
        super().on_response_complete()
        if self.pipeline or (self.cycle is not None and not self.cycle.response_complete):
            self._become(Activity.WORKING)
        if self.transport.is_closing():
            self._expect_reading()
        elif self._in_body:
            self._disarm()
            self._timer = self.loop.call_later(DISCARD_TIMEOUT_S, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        """Nobody speaks WebSocket here."""
        self._stop_now(403)

    def take_head_without_upgrade(self) -> bytes | None:
        """The head of a request to upgrade, to be parsed again as that of an ordinary one."""
        head, self._upgrade = self._upgrade, None
        return head

    def _head_without_upgrade(self) -> bytes:
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = (b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join([line, *kept, b"", b""])

    def send_400_response(self, msg: str) -> None:
        """The parser has stopped: a bound is exceeded, or these are no HTTP requests."""
        if self._refused:
            self._stop_now(self._refused)
        elif not self.transport.is_closing():
            connections.refused["malformed"] += 1
            super().send_400_response(msg)
            self._expect_reading()

    def pause_writing(self) -> None:
        """The client does not read what is sent."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """No further request has come. Closing would wait for a client that has not read the last response."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        connections.remove(self)
        self._disarm()
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().connection_lost(exc)

    def evict(self) -> None:
        """Ends the connection in favour of another."""
        self.transport.abort()

    def _become(self, activity: Activity) -> None:
        self.activity = activity
        self.active_since = now()

    def _expect_reading(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

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

    def _stop(self, status: int) -> None:
        """In a callback of the parser: has it stop."""
        self._refused = status
        raise _BoundError

    def _stop_now(self, status: int) -> None:
        self._in_headers = True  # nothing was answered yet for what is being refused
        self._refuse(status)

    def _refuse(self, status: int) -> None:
        self._disarm()
        if not self.transport.is_closing():
            connections.refused[str(status)] += 1
            if self._in_headers and (self.cycle is None or self.cycle.response_complete):
                self.transport.write(_REFUSALS[status])
            self.transport.close()
            self._expect_reading()


def bound_connections() -> None:
    """Makes every uvicorn that starts in this process from now on use `BoundedProtocol`."""
    auto.AutoHTTPProtocol = BoundedProtocol
