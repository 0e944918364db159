"""Sends requests on to Serve's proxy or straight to a replica, and bounds how long that takes."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakescan.serve.gate.auth import forwarded_headers
from fakescan.serve.gate.bounds.form import Form
from fakescan.serve.gate.fast_path import (
    NO_DEPLOYMENT,
    NO_DEPLOYMENT_WORDS,
    FastPath,
    WholeRequest,
    is_whole,
    status_of,
    until_disconnected,
)
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.gate.own.answers import FactResponse
from fakescan.serve.gate.own.readiness import STOPPING, Readiness
from fakescan.serve.gate.request_context import DisconnectedError, GateResponse, RequestContext
from fakescan.serve.gate.resend import ResendingApp
from fakescan.serve.problem import Problem
from fakescan.tracing import with_trace

logger = logging.getLogger("ray.serve.fakescan")

_GRACE_S = 2.0
"""Seconds more than a replica's own time-out before the gate gives up on it."""


class Forwarder:
    """What is behind a gate: Serve's proxy, and the replicas."""

    def __init__(self, app: ASGIApp, fast_path: FastPath | None, readiness: Readiness) -> None:
        """`readiness` is told when a replica has responded."""
        self._app = app
        self._replicas = ResendingApp(app)
        self._fast_path = fast_path
        self._readiness = readiness
        self._is_draining = False  # by the newest state that a request came with

    async def forward(
        self,
        scope: Scope,
        receive: Receive,
        body: bytes,
        form: Form | None,
        state: GateState,
        response: GateResponse,
    ) -> None:
        """Has a replica respond. Raises Problem where none does in time, and DisconnectedError."""
        context = response.context
        self._is_draining = state.is_draining
        inner = {**scope, "headers": with_trace(forwarded_headers(scope["headers"], state, context))}
        limit_s = state.limits.request_timeout_s + _GRACE_S
        if self._fast_path is not None and is_whole(scope, form):
            task = asyncio.ensure_future(self._forward_fast(self._fast_path, inner, receive, body, response))
        else:
            task = asyncio.ensure_future(
                self._replicas(inner, _replay(body, receive, context), _telling_apart(response))
            )
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
            self._readiness.seen()
        if not response.complete:
            if context.disconnected:
                raise DisconnectedError
            await response.end_with(self._problem_for(response.serve_status))

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

    def _problem_for(self, serve_status: int | None) -> Problem:
        """What a response of Serve itself, or none, means for the client."""
        if serve_status == 408:
            return Problem("timeout", "no answer in time; the server is busy, try again later")
        if self._is_draining:
            return Problem("unavailable", STOPPING)
        if serve_status == NO_DEPLOYMENT:
            return Problem("unavailable", "no replica is available; send requests elsewhere, or again later")
        if serve_status == 503:
            return Problem("overloaded", "the queue is full; try again later")
        if serve_status == 404:
            return self._readiness.no_replica("the application is not deployed yet")
        return Problem("unavailable", "the replica was lost while it worked on the request; send it again")

    async def proxy_health(self, scope: Scope) -> int:
        """Status of the health check of Serve's proxy, which it answers without a replica; not 200 while it drains."""
        status = 0

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        path = "/-/healthz"
        inner = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
        await self._app(inner, _no_body, send)
        return status

    async def ask(self, path: str, scope: Scope, state: GateState, context: RequestContext) -> FactResponse:
        """A replica's response to GET PATH without the client's headers."""
        probe = RequestContext(context.request_id, path, "GET", context.started)
        start: Message = {}
        parts: list[bytes] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        response = GateResponse(send, probe)
        inner = {
            **scope,
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": forwarded_headers((), state, probe),
        }
        await self._app(inner, _replay(b"", _never, probe), response.relay)
        media_type = dict(start.get("headers", ())).get(b"content-type", b"application/json").decode("latin-1")
        return FactResponse(probe.status, media_type, b"".join(parts))


def _telling_apart(response: GateResponse) -> Send:
    """`response.relay`, which also notes by Serve's words whether its 503 is for a deployment that has gone."""

    async def relay(message: Message) -> None:
        await response.relay(message)
        if response.serve_status == 503 and NO_DEPLOYMENT_WORDS in message.get("body", b""):
            response.serve_status = NO_DEPLOYMENT

    return relay


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


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError
