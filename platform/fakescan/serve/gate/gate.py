"""The gate in front of a Serve proxy: who may ask, how much, and how big; and problems in place of bare errors.

Serve's proxy reads a whole body, however long, before a replica sees any of it, has no keys and no limits. It takes
middleware from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, which names `middleware` here. The gate refuses after
reading the headers, reads a body within bounds of size and time, and only then takes a place in Serve's queue, so that
a slow client holds none. A replica serves only requests with the gate token.
"""

import asyncio
import logging
import math
import time

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakescan.serve.gate.auth import check_length, forwarded_headers, is_public, key_of, rate_of, request_id_of
from fakescan.serve.gate.body_reader import BodyReader
from fakescan.serve.gate.control_client import ControlClient
from fakescan.serve.gate.fast_path import FastPath, WholeRequest, is_whole, status_of, until_disconnected
from fakescan.serve.gate.gate_state import Control, GateState
from fakescan.serve.gate.metrics import GateMetrics
from fakescan.serve.gate.rate_limit import LeasedLimiter
from fakescan.serve.gate.request_context import DisconnectedError, GateResponse, RequestContext
from fakescan.serve.gate.resend import ResendingApp
from fakescan.serve.gate.uvicorn_protocol import bound_headers
from fakescan.serve.malloc import give_back_large_blocks
from fakescan.serve.problem import Problem

logger = logging.getLogger("ray.serve.fakescan")

_SERVE_PATHS = frozenset({"/-/healthz", "/-/routes"})
_JUDGING = frozenset({"/v1/detect", "/v1/chat/completions"})
_READY_S = 5.0
"""Seconds for which a response of a replica proves that one is ready."""
_PROBE_S = 3.0
"""Seconds that /readyz waits for a replica."""
_GRACE_S = 2.0
"""Seconds more than a replica's own time-out before the gate gives up on it."""


def middleware() -> list[Middleware]:
    """The middleware of a proxy; RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH has every proxy call this."""
    bound_headers()
    give_back_large_blocks()
    control = ControlClient()
    return [Middleware(Gate, control=control, fast_path=control.call_replica)]


class Gate:
    """ASGI middleware; one in each proxy."""

    def __init__(self, app: ASGIApp, control: Control, fast_path: FastPath | None = None) -> None:
        self._app = app
        self._replicas = ResendingApp(app)
        self._control = control
        self._fast_path = fast_path
        self._limiter = LeasedLimiter(control.lease)
        self._bodies = BodyReader()
        self._metrics = GateMetrics()
        self._ongoing = 0
        self._replica_seen_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through to Serve, or responds to it."""
        if scope["type"] != "http" or scope["path"] in _SERVE_PATHS:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
                return
            await self._app(scope, receive, send)
            return
        context = RequestContext(request_id_of(scope["headers"]), scope["path"], scope["method"], time.perf_counter())
        response = GateResponse(send, context)
        try:
            await self._handle(scope, receive, response)
        except Problem as problem:
            context.code = problem.code
            await response.refuse(problem, receive)
        except DisconnectedError:
            context.code = "disconnected"
        finally:
            self._account(context, response)

    async def _handle(self, scope: Scope, receive: Receive, response: GateResponse) -> None:
        context = response.context
        if context.path == "/healthz":
            await response.send_ok("application/json", b'{"status":"ok"}')
            return
        state = await self._control.state()
        if context.path == "/readyz":
            await self._check_ready(scope, state, context)
            await response.send_ok("application/json", b'{"status":"ready"}')
            return
        key = None if state.no_auth or is_public(context.path) else key_of(scope["headers"], state, context.path)
        context.key = key.name if key else "-"
        if context.path == "/metrics":
            text = self._metrics.text(self._ongoing, self._bodies.buffered)
            await response.send_ok(self._metrics.content_type, text)
            return
        check_length(scope["headers"], state.limits)
        self._refuse_when_full(state)
        if key is not None and context.path in _JUDGING:
            wait_s = await self._limiter.admit(key.id, rate_of(key, state.limits))
            if wait_s > 0:
                detail = f"rate limit of the key {key.name} reached; retry in {math.ceil(wait_s)} s"
                raise Problem("rate_limited", detail, retry_after_s=wait_s)
        async with self._bodies.read(receive, state.limits, context) as body:
            self._refuse_when_full(state)
            self._ongoing += 1
            try:
                await self._forward(scope, receive, body, state, response)
            finally:
                self._ongoing -= 1
        if key is not None and (images := sum(response.outcomes.values())) > 1:
            self._limiter.charge(key.id, images - 1)

    def _refuse_when_full(self, state: GateState) -> None:
        if self._ongoing >= state.max_ongoing:
            raise Problem("overloaded", f"{self._ongoing} requests are in flight already; try again later")

    async def _forward(
        self, scope: Scope, receive: Receive, body: bytes, state: GateState, response: GateResponse
    ) -> None:
        context = response.context
        inner = {**scope, "headers": forwarded_headers(scope["headers"], state, context)}
        limit_s = state.limits.request_timeout_s + _GRACE_S
        if self._fast_path is not None and is_whole(scope, body):
            task = asyncio.ensure_future(self._forward_fast(self._fast_path, inner, receive, body, response))
        else:
            task = asyncio.ensure_future(self._replicas(inner, _replay(body, receive, context), response.relay))
        started = asyncio.ensure_future(response.started.wait())
        try:
            await asyncio.wait({task, started}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not response.started.is_set():
                raise Problem("timeout", f"no answer within {limit_s:g} s; the server is busy, try again later")
            async with asyncio.timeout(limit_s):  # the replica bounds its streams; this is for one that hangs
                await task
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001 - whatever happened, the client gets a problem and the log the cause
            logger.warning("request %s: %s: %s", context.request_id, type(error).__name__, error)
        finally:
            started.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if response.from_replica:
            self._replica_seen_at = time.monotonic()
        if not response.complete:
            if context.disconnected:
                raise DisconnectedError
            await response.end_with(_problem_for(response.serve_status))

    @staticmethod
    async def _forward_fast(
        fast_path: FastPath, scope: Scope, receive: Receive, body: bytes, response: GateResponse
    ) -> None:
        request = WholeRequest(scope["method"], scope["path"], scope["query_string"], scope["headers"], body)
        call = asyncio.ensure_future(fast_path(request))
        disconnect = asyncio.ensure_future(until_disconnected(receive))
        try:
            await asyncio.wait({call, disconnect}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                response.context.disconnected = True
                return
            whole = call.result()
        except Exception as error:
            response.serve_status = status_of(error)
            raise
        finally:
            disconnect.cancel()
            call.cancel()
        await response.relay({"type": "http.response.start", "status": whole.status, "headers": whole.headers})
        await response.relay({"type": "http.response.body", "body": whole.body})

    async def _check_ready(self, scope: Scope, state: GateState, context: RequestContext) -> None:
        """Raises Problem unless a replica has responded lately, or does now.

        Under load a probe would only wait in the queue behind the requests that prove the same.
        """
        if time.monotonic() - self._replica_seen_at <= _READY_S:
            return
        probe = GateResponse(_discard, RequestContext(context.request_id, "/readyz", "GET", context.started))
        inner = {**scope, "headers": forwarded_headers(scope["headers"], state, probe.context)}
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._app(inner, _replay(b"", _never, probe.context), probe.relay)
        except TimeoutError:
            raise Problem("starting", f"no replica answers within {_PROBE_S:g} s") from None
        except Exception as error:  # noqa: BLE001 - as in `_forward`
            logger.warning("/readyz: %s: %s", type(error).__name__, error)
        if probe.context.status != 200:
            raise Problem("starting", "no replica is ready")
        self._replica_seen_at = time.monotonic()

    def _account(self, context: RequestContext, response: GateResponse) -> None:
        seconds = time.perf_counter() - context.started
        self._metrics.count(context.path, context.status, context.code, seconds, context.num_bytes, response.outcomes)
        if context.path not in ("/healthz", "/readyz", "/metrics"):
            logger.info(
                "%s %s %s %d %.1fms %dB key=%s%s",
                context.request_id, context.method, context.path[:100].encode("unicode_escape").decode(),
                context.status, seconds * 1000, context.num_bytes, context.key,
                f" {context.code}" if context.code else "",
            )  # fmt: skip


def _replay(body: bytes, receive: Receive, context: RequestContext) -> Receive:
    """The body as one message, then whatever comes, which is the client's disconnect."""
    sent = False

    async def receive_again() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        message = await receive()
        context.disconnected = message["type"] == "http.disconnect"
        return message

    return receive_again


def _problem_for(serve_status: int | None) -> Problem:
    """What a response of Serve itself, or none, means for the client."""
    if serve_status == 503:
        return Problem("overloaded", "the queue is full; try again later")
    if serve_status == 408:
        return Problem("timeout", "no answer in time; the server is busy, try again later")
    if serve_status == 404:
        return Problem("starting", "the application is not deployed yet")
    return Problem("unavailable", "the replica was lost while it worked on the request; send it again")


async def _discard(message: Message) -> None:
    """Sends to nobody."""


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError
