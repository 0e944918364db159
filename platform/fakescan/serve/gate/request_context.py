"""One request on its way through the gate, and the response to it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from fakescan.serve.gate.own.answers import OwnAnswer
from fakescan.serve.internal_headers import CODE, FROM_REPLICA, LAST_OUTCOMES, OUTCOMES, REQUEST_ID, WORK
from fakescan.serve.outcome_header import Outcomes, read_outcomes
from fakescan.serve.problem import Problem
from fakescan.serve.work import read_work

_LINGER_S = 2.0
"""Seconds for which the rest of a refused body is read and thrown away."""
_LINGER_PAUSE_S = 0.01
"""Seconds between two pieces of it: reading what nobody wants comes after all else."""
_LINGERING = 4
"""Connections of which it is read at once."""
_CLOSING = frozenset({"too_large", "upload_timeout"})
"""Refusals with which the connection ends."""


@dataclass
class RequestContext:
    """One request on its way through the gate: what its log line and the metrics say of it."""

    request_id: str
    path: str
    method: str
    started: float
    """When it came, in seconds of `time.perf_counter`."""
    key: str = "-"
    """Name of its key; `-` for none."""
    key_id: str = ""
    """Id of its key; empty for none."""
    client: str = "-"
    """Address of the client."""
    address_group: str = "-"
    """What limits of the client's address count by."""
    user_agent: str = ""
    """How the client calls itself."""
    route: str = "other"
    """Label of its path in the metrics."""
    declared: int | None = 0
    """Bytes of its body by its headers; None where they do not say."""
    sender: tuple[str, str] | None = None
    """Id of its key and group of its address: who is charged where it comes to nothing; None for nobody."""
    has_body: bool = False
    """Whether its body is complete."""
    images: int = 0
    """Images that were counted in it."""
    passed_at: float | None = None
    """When it went on to a replica, in seconds of `time.perf_counter`."""
    is_closing: bool = False
    """Whether the connection ends with the response."""
    status: int = 0
    """Status of the response; 0 as long as there is none."""
    num_bytes: int = 0
    """Bytes of its body, once that is complete."""
    num_read: int = 0
    """Bytes of its body that were read, complete or not, wanted or not."""
    code: str = ""
    """Code of the problem that it was refused with."""
    disconnected: bool = False
    """Whether the client has closed the connection."""
    trace_id: str | None = None
    """The trace that it belongs to; None without tracing."""

    @property
    def has_passed(self) -> bool:
        """Whether it went on to a replica."""
        return self.passed_at is not None

    @property
    def has_more(self) -> bool:
        """Whether more of its body is to come."""
        return not self.has_body and (self.declared is None or self.declared > self.num_read)


class DisconnectedError(Exception):
    """The client has closed the connection."""


def lingering() -> asyncio.Semaphore:
    """Places of the connections of one proxy whose refused bodies are read."""
    return asyncio.Semaphore(_LINGERING)


class GateResponse:
    """The response to the client: the replica's, or a problem in place of anything else."""

    def __init__(self, send: Send, context: RequestContext, lingering: asyncio.Semaphore | None = None) -> None:
        """`lingering`: has a place for each connection whose refused body is read at once; None: none is."""
        self._send = send
        self.context = context
        self.started = asyncio.Event()
        self.from_replica = False
        self.complete = False
        self.outcomes: Outcomes | None = None
        self.work: list[int] = []
        """Pixels that each image costs to decode, once a replica has looked at them."""
        self.serve_status: int | None = None
        self._is_event_stream = False
        self._lingering = lingering

    async def relay(self, message: Message) -> None:
        """The `send` that Serve's proxy gets."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            values = {name.lower(): value for name, value in headers}
            if FROM_REPLICA not in values:
                self.serve_status = message["status"]  # a response of Serve itself, which is not for clients
                return
            self.from_replica = True
            self.work = read_work(values.get(WORK, b""))
            self.context.code = values.get(CODE, b"").decode("latin-1")
            if OUTCOMES in values:
                self.outcomes = read_outcomes(values[OUTCOMES].decode("latin-1"))
            self._is_event_stream = values.get(b"content-type", b"").startswith(b"text/event-stream")
            public = [
                (n, v) for n, v in headers if not n.lower().startswith(b"x-fakescan-") and n.lower() != REQUEST_ID
            ]
            await self._start(message["status"], public)
        elif self.from_replica:
            self.complete = not message.get("more_body", False)
            if LAST_OUTCOMES in message:
                self.outcomes = read_outcomes(message[LAST_OUTCOMES])
            await self._send(message)

    async def refuse(self, problem: Problem, receive: Receive | None = None) -> None:
        """Sends a problem, unless a response has begun."""
        if self.started.is_set():
            return
        body = problem.body(self.context.request_id)
        headers = problem.headers()
        is_closing = self.context.is_closing or problem.code in _CLOSING
        if is_closing:
            headers["connection"] = "close"
        if not is_closing or not self.context.has_more or receive is None or self._lingering is None:
            await self._send_whole(problem.status, headers, body)
            return
        headers["content-length"] = str(len(body))
        await self._start(problem.status, [(name.encode(), value.encode()) for name, value in headers.items()])
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        # A connection that is closed while the client still sends is reset, and the client never reads why.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S), self._lingering:
                while (message := await receive())["type"] != "http.disconnect" and message.get("more_body"):
                    self.context.num_read += len(message.get("body", b""))
                    await asyncio.sleep(_LINGER_PAUSE_S)
        await self._send({"type": "http.response.body", "body": b""})

    async def end_with(self, problem: Problem) -> None:
        """Ends a response that Serve has left unfinished, or not begun."""
        self.context.code = problem.code
        if not self.started.is_set():
            await self.refuse(problem)
        elif self._is_event_stream:
            content = problem.body(self.context.request_id)
            await self._send({"type": "http.response.body", "body": b"event: error\ndata: " + content + b"\n\n"})

    async def send_ok(self, media_type: str, body: bytes) -> None:
        """Responds with 200 in place of a replica."""
        await self._send_whole(200, {"content-type": media_type}, body)

    async def send_own(self, answer: OwnAnswer, if_none_match: bytes) -> None:
        """Responds with what the gate has itself, or with 304 to a client that has it, too."""
        headers = list(answer.headers)
        if answer.is_known_to(if_none_match):
            await self._start(304, [pair for pair in headers if pair[0] != b"content-type"])
            await self._send({"type": "http.response.body", "body": b""})
            return
        await self._start(200, [*headers, (b"content-length", str(len(answer.body)).encode())])
        await self._send({"type": "http.response.body", "body": answer.body})

    async def _send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._start(status, [*pairs, (b"content-length", str(len(body)).encode())])
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started.set()
        self.context.status = status
        headers = [*headers, (REQUEST_ID, self.context.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
