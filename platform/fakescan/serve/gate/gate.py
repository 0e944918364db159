"""The gate in front of a Serve proxy: who may ask, how much, and how big; and problems in place of bare errors.

Serve's proxy reads a whole body, however long, before a replica sees any of it, has no keys and no limits. It takes
middleware from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, which names `middleware` here. The gate refuses at the cost
of a header, reads a body within bounds of size and time, and only then takes a place in Serve's queue, so that a slow
client holds none. A replica serves only what bears the gate's mark.
"""

import asyncio
import logging
import time

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakescan.serve.config import Limits
from fakescan.serve.gate.auth import (
    check_length,
    forwarded_headers,
    is_public,
    key_of,
    rate_of,
    request_id_of,
    too_large,
)
from fakescan.serve.gate.control_client import ControlClient
from fakescan.serve.gate.fast_path import FastPath, WholeRequest, is_whole, status_of, until_gone
from fakescan.serve.gate.gate_state import GateState, GateStateSource
from fakescan.serve.gate.metrics import GateMetrics
from fakescan.serve.gate.rate_limit import LeasedLimiter
from fakescan.serve.gate.request_context import GateResponse, GoneError, RequestContext
from fakescan.serve.gate.uvicorn_protocol import bound_headers
from fakescan.serve.malloc import give_back_large_blocks
from fakescan.serve.problem import Problem

logger = logging.getLogger("ray.serve.fakescan")

_SERVE_PATHS = frozenset({"/-/healthz", "/-/routes"})
_JUDGING = frozenset({"/v1/detect", "/v1/chat/completions"})
_READY_S = 5.0
"""Seconds for which an answer of a replica proves that one is ready."""
_PROBE_S = 3.0
"""Seconds that /readyz waits for a replica."""
_GRACE_S = 2.0
"""Seconds more than a replica's own time-out before the gate gives up on it."""


def middleware() -> list[Middleware]:
    """What RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH calls in every proxy."""
    bound_headers()
    give_back_large_blocks()
    link = ControlClient()
    return [Middleware(Gate, source=link, direct=link.answer)]


class Gate:
    """ASGI middleware; one in each proxy."""

    def __init__(self, app: ASGIApp, source: GateStateSource, direct: FastPath | None = None) -> None:
        self._app = app
        self._source = source
        self._direct = direct
        self._limiter = LeasedLimiter(source.lease)
        self._metrics = GateMetrics()
        self._ongoing = 0
        self._buffered = 0
        self._answered_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to Serve, or answer it."""
        if scope["type"] != "http" or scope["path"] in _SERVE_PATHS:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
                return
            await self._app(scope, receive, send)
            return
        visit = RequestContext(request_id_of(scope["headers"]), scope["path"], scope["method"], time.perf_counter())
        answer = GateResponse(send, visit)
        try:
            await self._visit(scope, receive, answer)
        except Problem as problem:
            visit.code = problem.code
            await answer.refuse(problem, receive)
        except GoneError:
            visit.code = "disconnected"
        finally:
            self._account(visit, answer)

    async def _visit(self, scope: Scope, receive: Receive, answer: GateResponse) -> None:
        visit = answer.visit
        if visit.path == "/healthz":
            await answer.json(b'{"status":"ok"}')
            return
        view = await self._source.view()
        if visit.path == "/readyz":
            await self._ready(scope, view, answer)
            return
        key = None if view.no_auth or is_public(visit.path) else key_of(scope["headers"], view, visit.path)
        visit.key = key.name if key else "-"
        if visit.path == "/metrics":
            await answer.send_all(200, self._metrics.content_type, self._metrics.text(self._ongoing, self._buffered))
            return
        limits = view.limits
        check_length(scope["headers"], limits)
        most = view.most_ongoing
        self._refuse_when_full(most)
        if key is not None and visit.path in _JUDGING:
            wait_s = await self._limiter.admit(key.id, rate_of(key, limits))
            if wait_s > 0:
                raise Problem("rate_limited", f"the key {key.name} may judge no more images now", retry_after_s=wait_s)
        with _Reserved(self, limits) as space:
            body = await _read_body(receive, space, limits, visit)
            self._refuse_when_full(most)
            self._ongoing += 1
            try:
                await self._forward(scope, receive, body, view, answer)
            finally:
                self._ongoing -= 1
        if key is not None and (images := sum(answer.tally.values())) > 1:
            self._limiter.charge(key.id, images - 1)

    def _refuse_when_full(self, most: int) -> None:
        if self._ongoing >= most:
            raise Problem("overloaded", f"{self._ongoing} requests are in hand already; try again later")

    async def _forward(
        self, scope: Scope, receive: Receive, body: bytes, view: GateState, answer: GateResponse
    ) -> None:
        inner = {**scope, "headers": forwarded_headers(scope["headers"], view, answer.visit)}
        limit_s = view.limits.request_timeout_s + _GRACE_S
        if self._direct is not None and is_whole(scope, body):
            task = asyncio.ensure_future(self._ask_directly(self._direct, inner, receive, body, answer))
        else:
            task = asyncio.ensure_future(self._app(inner, _replay(body, receive, answer.visit), answer.from_serve))
        started = asyncio.ensure_future(answer.started.wait())
        try:
            await asyncio.wait({task, started}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not answer.started.is_set():
                raise Problem("timeout", f"no answer within {limit_s:g} s; the server is busy, try again later")
            async with asyncio.timeout(limit_s):  # the replica bounds its streams; this is for one that hangs
                await task
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001 - whatever happened, the client gets a problem and the log the cause
            logger.warning("request %s: %s: %s", answer.visit.request_id, type(error).__name__, error)
        finally:
            started.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if answer.ours:
            self._answered_at = time.monotonic()
        if answer.visit.gone and not answer.whole:
            raise GoneError
        if not answer.whole:
            await answer.end_for(_lost(answer.serve_status))

    @staticmethod
    async def _ask_directly(
        direct: FastPath, scope: Scope, receive: Receive, body: bytes, answer: GateResponse
    ) -> None:
        request = WholeRequest(scope["method"], scope["path"], scope["query_string"], scope["headers"], body)
        asking = asyncio.ensure_future(direct(request))
        leaving = asyncio.ensure_future(until_gone(receive))
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                answer.visit.gone = True
                return
            whole = asking.result()
        except Exception as error:
            answer.serve_status = status_of(error)
            raise
        finally:
            leaving.cancel()
            asking.cancel()
        await answer.from_serve({"type": "http.response.start", "status": whole.status, "headers": whole.headers})
        await answer.from_serve({"type": "http.response.body", "body": whole.body})

    async def _ready(self, scope: Scope, view: GateState, answer: GateResponse) -> None:
        """Ready is what has answered lately, or answers now; under load /readyz would only wait in the same queue."""
        if time.monotonic() - self._answered_at > _READY_S:
            probe = GateResponse(
                _nowhere, RequestContext(answer.visit.request_id, "/readyz", "GET", answer.visit.started)
            )
            inner = {**scope, "headers": forwarded_headers(scope["headers"], view, probe.visit)}
            try:
                async with asyncio.timeout(_PROBE_S):
                    await self._app(inner, _replay(b"", _never, probe.visit), probe.from_serve)
            except TimeoutError:
                raise Problem("starting", f"no replica answers within {_PROBE_S:g} s") from None
            except Exception as error:  # noqa: BLE001 - as in `_forward`
                logger.warning("/readyz: %s: %s", type(error).__name__, error)
            if probe.visit.status != 200:
                raise Problem("starting", "no replica is ready")
            self._answered_at = time.monotonic()
        await answer.json(b'{"status":"ready"}')

    def _account(self, visit: RequestContext, answer: GateResponse) -> None:
        seconds = time.perf_counter() - visit.started
        self._metrics.count(visit.path, visit.status, visit.code, seconds, visit.num_bytes, answer.tally)
        if visit.path not in ("/healthz", "/readyz", "/metrics"):
            logger.info(
                "%s %s %s %d %.1fms %dB key=%s%s",
                visit.request_id, visit.method, visit.path[:100].encode("unicode_escape").decode(), visit.status,
                seconds * 1000, visit.num_bytes, visit.key, f" {visit.code}" if visit.code else "",
            )  # fmt: skip

    def grow(self, more: int, limits: Limits) -> None:
        """Take room for more bytes of bodies. Raises Problem when there is none."""
        if self._buffered + more > limits.max_buffered_bytes:
            raise Problem("overloaded", "the bodies in hand fill the proxy's memory for them; try again later")
        self._buffered += more

    def shrink(self, less: int) -> None:
        """Give room back."""
        self._buffered -= less


class _Reserved:
    """Room for one body in the proxy's memory, given back at the end."""

    def __init__(self, gate: Gate, limits: Limits) -> None:
        self._gate = gate
        self._limits = limits
        self._bytes = 0

    def __enter__(self) -> "_Reserved":
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.shrink(self._bytes)

    def grow_to(self, num_bytes: int) -> None:
        """Make sure of room for so many bytes."""
        if num_bytes > self._limits.max_body_bytes:
            raise too_large(self._limits)
        if num_bytes > self._bytes:
            self._gate.grow(num_bytes - self._bytes, self._limits)
            self._bytes = num_bytes


async def _read_body(receive: Receive, space: _Reserved, limits: Limits, visit: RequestContext) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.upload_timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                space.grow_to(size)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Problem("upload_timeout", f"the body did not arrive within {limits.upload_timeout_s:g} s") from None
    visit.num_bytes = size
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _replay(body: bytes, receive: Receive, visit: RequestContext) -> Receive:
    """The body as one message, then whatever comes, which is the client's leaving."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        message = await receive()
        visit.gone = message["type"] == "http.disconnect"
        return message

    return again


def _lost(status: int | None) -> Problem:
    """What Serve's own answer, or none, means for the client."""
    if status == 503:
        return Problem("overloaded", "the queue is full; try again later")
    if status == 408:
        return Problem("timeout", "no answer in time; the server is busy, try again later")
    if status == 404:
        return Problem("starting", "the application is not deployed, or not yet")
    return Problem("unavailable", "the replica was lost while it worked on the request; send it again")


async def _nowhere(message: Message) -> None:
    """Sends to nobody."""


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError
