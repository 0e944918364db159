"""A gate on a server of its own, as Serve's proxy has it, and what is behind it."""

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from fakescan.serve.config import Limits
from fakescan.serve.gate.bounds.client_address import TrustedProxies
from fakescan.serve.gate.bounds.rate_limit import Rate, SharedLimiter, TokenLease
from fakescan.serve.gate.fast_path import WholeRequest, WholeResponse, run_whole
from fakescan.serve.gate.gate import Gate
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.gate.uvicorn_protocol import BoundedProtocol
from fakescan.serve.keys import KeyFile, KeyRing
from fakescan.serve.problem import Problem

TOKEN = "the gate token"
Act = Callable[[Receive, Send], Awaitable[None]]


@dataclass
class StubControl:
    """In the control actor's place: settings and keys that the test may change."""

    limits: Limits = field(default_factory=Limits)
    ring: KeyRing | None = None
    is_up: bool = True
    limiter: SharedLimiter = field(default_factory=SharedLimiter)

    proxies: tuple[str, ...] = ()
    is_draining: bool = False
    answers: bool = True

    async def state(self, max_age_s: float | None = None) -> GateState:
        if not self.is_up:
            raise Problem("starting", "the application is not deployed, or not yet")
        return GateState(
            self.limits,
            self.ring is None,
            self.ring or KeyRing(KeyFile()),
            TOKEN,
            replicas=1,
            proxies=TrustedProxies(self.proxies),
            is_draining=self.is_draining,
        )

    def is_current(self, max_age_s: float) -> bool:
        return self.answers

    async def lease(self, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        return self.limiter.lease(key_id, rate, wanted, extra, time.monotonic(), proxy="the only one")

    async def reserve(self, key_id: str, rate: Rate, tokens: int, extra: int) -> float:
        return self.limiter.reserve(key_id, rate, tokens, extra, time.monotonic())


class Inner:
    """What is behind the gate: Serve's proxy and a replica, which do as the test says."""

    def __init__(self) -> None:
        self.act: Act = from_replica()
        self.paths: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.bodies: list[bytes] = []
        self.at_once = 0
        self.cancelled = 0
        self.takes_requests = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/-/healthz" and b"x-asked" not in dict(scope["headers"]):
            await _send(send, 200 if self.takes_requests else 503, b"Serve's own words", [])
            return
        self.paths.append(scope["path"])
        self.headers.append(list(scope["headers"]))
        message = await receive()
        assert not message.get("more_body"), "the body comes whole"
        self.bodies.append(message["body"])
        self.at_once += 1
        try:
            await self.act(receive, send)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1


async def _send(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]], *, more: bool = False
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})


def from_replica(status: int = 200, body: bytes = b"{}", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Act:
    """A replica's answer."""
    kept = [(b"content-length", str(len(body)).encode()), (b"x-fakescan-from-replica", b"1"), *headers]
    return lambda receive, send: _send(send, status, body, kept)


def serves_own(status: int) -> Act:
    """An answer of Serve itself."""
    return lambda receive, send: _send(send, status, b"Serve's own words", [(b"content-type", b"text/plain")])


async def nothing(receive: Receive, send: Send) -> None:
    """Ends without an answer."""


async def breaks(receive: Receive, send: Send) -> None:
    raise ConnectionError("secret detail")


async def hangs(receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def waits_for_leaving(receive: Receive, send: Send) -> None:
    """As Serve does: works on until it hears that the client has gone."""
    assert (await receive())["type"] == "http.disconnect"


class Held:
    """An answer that waits until the test lets it go."""

    def __init__(self, then: Act | None = None) -> None:
        self._then = then or from_replica()
        self._free = threading.Event()

    def release(self) -> None:
        self._free.set()

    async def __call__(self, receive: Receive, send: Send) -> None:
        while not self._free.is_set():
            await asyncio.sleep(0.002)
        await self._then(receive, send)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem that is one in all its parts; empty for any other answer."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        content = json.loads(self.body)
        assert content["type"] == f"urn:fakescan:problem:{content['code']}"
        assert content["status"] == self.status
        assert content["request_id"] == self.headers["x-request-id"]
        assert ("retry-after" in self.headers) == (self.status in (429, 503))
        assert int(self.headers.get("retry-after", 1)) >= 1
        return str(content["code"])


class Wire:
    """A connection to the gate, byte by byte."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def begin(self, path: str = "/v1/detect", *headers: str, method: str = "POST") -> None:
        """Send the headers of a request."""
        self.send("\r\n".join([f"{method} {path} HTTP/1.1", "host: gate", *headers, "", ""]).encode("latin-1"))

    def answer(self) -> Answer:
        """The next answer."""
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def rest(self) -> bytes:
        """All until the server closes the connection."""
        data = b""
        with suppress(ConnectionResetError):
            while piece := self.socket.recv(65_536):
                data += piece
        return data

    def is_silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)

    def close(self) -> None:
        self.socket.close()


class Gated:
    """A gate behind uvicorn, as Serve's proxy has it."""

    def __init__(self, control: StubControl, *, fast: bool = False, app: ASGIApp | None = None) -> None:
        """`app`: what is behind the gate; as a test says, by default."""
        self.control = control
        self.inner = Inner()
        self.fast_calls = 0
        self._app: ASGIApp = app or self.inner
        self.gate = Gate(self._app, control, self._call_replica if fast else None)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._wires: list[Wire] = []
        config = uvicorn.Config(
            self.gate, http=BoundedProtocol, lifespan="off", access_log=False, log_level=None, log_config=None
        )
        self._server = uvicorn.Server(config)
        threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True).start()
        until("the server is up", lambda: self._server.started)

    async def _call_replica(self, request: WholeRequest) -> WholeResponse:
        """A call to the replica, past Serve's proxy."""
        self.fast_calls += 1
        return await run_whole(self._app, request)

    @contextmanager
    def client(self, key: str | None = None) -> Iterator[httpx.Client]:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=10) as client:
            yield client

    def ask(self, path: str = "/v1/detect", *, method: str = "POST", key: str | None = None, **options: Any) -> Answer:
        """One request on a connection of its own."""
        with self.client(key) as client:
            answer = client.request(method, path, **options)
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    def wire(self) -> Wire:
        self._wires.append(Wire(self.port))
        return self._wires[-1]

    def metric(self, name: str, key: str | None = None) -> float:
        """A value out of /metrics; 0 where there is none yet."""
        rows = self.ask("/metrics", method="GET", key=key).body.decode().splitlines()
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith(name))

    @property
    def buffered(self) -> float:
        """Bytes of bodies that it holds."""
        return self.metric("fakescan_serve_buffered_bytes")

    def wait_until_idle(self, key: str | None = None) -> None:
        """Wait until all places and all room have been given back."""
        names = ("fakescan_serve_ongoing_requests", "fakescan_serve_buffered_bytes")
        until("all is given back", lambda: not any(self.metric(name, key) for name in names))

    def close(self) -> None:
        for wire in self._wires:
            wire.close()
        self._server.should_exit = self._server.force_exit = True  # it ends by itself, within a tick of uvicorn's


def until(what: str, happened: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until `happened()` is true."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.002)


@dataclass
class Keys:
    """Keys of four clients, and the ring that knows them."""

    ring: KeyRing
    judge: str
    scanner: str
    both: str
    off: str
    many: str


Start = Callable[..., Gated]


def outcomes(*images: tuple[str, int]) -> tuple[bytes, bytes]:
    """What a replica tells of images: outcome and pixels."""
    told = " ".join(f"{outcome}:{'ab' * 32}:{pixels}" for outcome, pixels in images)
    return (b"x-fakescan-outcomes", told.encode())


def form(files: int, **fields: str) -> dict[str, Any]:
    return {"files": [("file", (f"{number}.jpg", b"x" * 1000)) for number in range(files)], "data": fields}


def log_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    messages = [record.getMessage() for record in caplog.records if record.name == "ray.serve.fakescan"]
    return [json.loads(message) for message in messages if message.startswith("{")]
