"""One request on its way through the gate, and what goes back for it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from fakescan.serve.internal_headers import FROM_REPLICA, OUTCOMES, REQUEST_ID
from fakescan.serve.outcome_header import read_outcomes
from fakescan.serve.problem import Problem

_LINGER_S = 2.0
"""Seconds for which the rest of a refused body is read and thrown away."""
_CLOSING = frozenset({"too_large", "upload_timeout"})
"""Refusals that come while a body is under way; the connection ends with them."""


@dataclass
class RequestContext:
    """One request on its way through the gate."""

    request_id: str
    path: str
    method: str
    started: float
    key: str = "-"
    status: int = 0
    num_bytes: int = 0
    code: str = ""
    gone: bool = False


class GoneError(Exception):
    """The client has closed the connection."""


class GateResponse:
    """What goes back to the client: the replica's answer, or a problem in place of anything else."""

    def __init__(self, send: Send, visit: RequestContext) -> None:
        self._send = send
        self.visit = visit
        self.started = asyncio.Event()
        self.ours = False
        self.whole = False
        self.tally: Mapping[str, int] = {}
        self.serve_status: int | None = None
        self._events = False

    async def from_serve(self, message: Message) -> None:
        """The `send` that Serve's proxy gets."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower(): value for name, value in headers}
            if FROM_REPLICA not in names:
                self.serve_status = message["status"]  # Serve's own words, which are not for clients
                return
            self.ours = True
            self.tally = read_outcomes(names.get(OUTCOMES, b"").decode())
            self._events = names.get(b"content-type", b"").startswith(b"text/event-stream")
            kept = [(n, v) for n, v in headers if not n.lower().startswith(b"x-fakescan-") and n.lower() != REQUEST_ID]
            await self._start(message["status"], kept)
        elif self.ours:
            self.whole = not message.get("more_body", False)
            await self._send(message)

    async def refuse(self, problem: Problem, receive: Receive | None = None) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.started.is_set():
            return
        body = problem.body(self.visit.request_id)
        if receive is None or problem.code not in _CLOSING:
            await self._all(problem.status, problem.headers(), body)
            return
        headers = {**problem.headers(), "connection": "close", "content-length": str(len(body))}
        await self._start(problem.status, [(name.encode(), value.encode()) for name, value in headers.items()])
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        # A connection that is closed while the client still sends is reset, and the client never reads why.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (message := await receive())["type"] != "http.disconnect" and message.get("more_body"):
                    pass
        await self._send({"type": "http.response.body", "body": b""})

    async def end_for(self, problem: Problem) -> None:
        """Serve has left the answer unfinished."""
        self.visit.code = problem.code
        if not self.started.is_set():
            await self.refuse(problem)
        elif self._events:
            content = problem.body(self.visit.request_id)
            await self._send({"type": "http.response.body", "body": b"event: error\ndata: " + content + b"\n\n"})

    async def json(self, body: bytes) -> None:
        """Answer 200."""
        await self.send_all(200, "application/json", body)

    async def send_all(self, status: int, media_type: str, body: bytes) -> None:
        """Answer in place of a replica."""
        await self._all(status, {"content-type": media_type}, body)

    async def _all(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._start(status, [*pairs, (b"content-length", str(len(body)).encode())])
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started.set()
        self.visit.status = status
        marked = [*headers, (REQUEST_ID, self.visit.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": marked})
