"""The gate in front of a Serve proxy: who may ask, how much, and how big; and problems in place of bare errors.

Serve's proxy reads a whole body, however long, before a replica sees any of it, has no keys and no limits. It takes
middleware from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, which names `middleware` here. The gate refuses after
reading the headers, reads a body within bounds of size and time, and only then takes a place in Serve's queue, so that
a slow client holds none. A replica serves only requests with the gate token.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fakescan import tracing
from fakescan.serve.config import Limits
from fakescan.serve.gate.access_log import AccessLog
from fakescan.serve.gate.auth import (
    Headers,
    Route,
    body_limit,
    check_length,
    check_method,
    key_of,
    rate_of,
    request_id_of,
    route_of,
)
from fakescan.serve.gate.body_reader import BodyReader
from fakescan.serve.gate.bounds.charges import MAX_FIELDS, cost_of, images_of
from fakescan.serve.gate.bounds.form import read_form
from fakescan.serve.gate.bounds.json_bounds import JsonBounds
from fakescan.serve.gate.bounds.local_rates import LocalRates
from fakescan.serve.gate.bounds.rate_limit import LeasedLimiter, Rate
from fakescan.serve.gate.bounds.refusals import MAX_DELAY_S, Ended, Refusals
from fakescan.serve.gate.bounds.shares import Shares
from fakescan.serve.gate.control_client import ControlClient
from fakescan.serve.gate.fast_path import FastPath
from fakescan.serve.gate.forwarder import Forwarder
from fakescan.serve.gate.gate_state import Control, GateState
from fakescan.serve.gate.metrics import GateMetrics, Levels
from fakescan.serve.gate.own.answers import Facts, page_files
from fakescan.serve.gate.own.readiness import STATE_S, Readiness
from fakescan.serve.gate.request_context import DisconnectedError, GateResponse, RequestContext, lingering
from fakescan.serve.gate.uvicorn_protocol import bound_connections, connections
from fakescan.serve.keys import Key, KeyFile, KeyRing
from fakescan.serve.malloc import give_back_large_blocks
from fakescan.serve.operation.serve_log import use_json_lines
from fakescan.serve.outcome_header import VERDICTS
from fakescan.serve.problem import Problem, no_upload
from fakescan.telemetry.metric import is_connected
from fakescan.telemetry.registry_copy import RegistryCopy
from fakescan.terminal.json_logs.fields import log_fields

_PROBES = ("/healthz", "/readyz")
_NOT_LOGGED = (*_PROBES, "/metrics")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SERVE_PATHS = frozenset({"/-/healthz", "/-/routes"})
_PLACES_PORTION = 2.0
"""A key alone may have two thirds of the places, see `Shares`."""
_IMPATIENT_S = 5.0
"""Seconds before which nobody who wants an answer gives it up."""
_SLEEP_ERROR_S = 0.01
"""Seconds by which a sleep may end too soon."""
_OTHER_PLACES = 16
"""Requests in flight that are no images, such as those about scans, which may wait long for others."""


def middleware() -> list[Middleware]:
    """The middleware of a proxy; RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH has every proxy call this."""
    use_json_lines()
    bound_connections()
    give_back_large_blocks()
    control = ControlClient()
    return [Middleware(Gate, control=control, fast_path=control.call_replica)]


class Gate:
    """ASGI middleware; one in each proxy."""

    def __init__(self, app: ASGIApp, control: Control, fast_path: FastPath | None = None) -> None:
        self._app = app
        self._control = control
        self._readiness = Readiness()
        self._forwarder = Forwarder(app, fast_path, self._readiness)
        self._limiter = LeasedLimiter(control.lease, control.reserve)
        self._anonymous = LocalRates()
        self._other_requests = LocalRates()
        self._refusals = Refusals()
        self._lingering = lingering()
        self._bodies = BodyReader()
        self._places = Shares(_PLACES_PORTION)
        self._other_places = Shares(_PLACES_PORTION)
        self._metrics = GateMetrics(self._levels)
        self._log = AccessLog()
        self._page = page_files()
        self._facts = Facts()
        self._limits: Limits | None = None
        self._ring = KeyRing(KeyFile())
        if is_connected():
            RegistryCopy(self._metrics.registry).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through to Serve, or responds to it."""
        if scope["type"] != "http" or scope["path"] in _SERVE_PATHS:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
                return
            await self._app(scope, receive, send)
            return
        context = _context_of(scope)
        response = GateResponse(send, context, self._lingering)
        try:
            with log_fields(request_id=context.request_id), _traced(scope, context):
                await self._handle(scope, receive, response)
        except Problem as problem:
            context.code = problem.code
            await response.refuse(problem, receive)
        except DisconnectedError:
            context.code = "disconnected"
        finally:
            self._account(context, response)

    async def _handle(self, scope: Scope, receive: Receive, response: GateResponse) -> None:
        context, path = response.context, scope["path"]
        route = route_of(path)
        if path in _PROBES:  # before anything that they must not wait for
            check_method(route, scope["method"], path)
            check_length(scope["headers"], 0)
        if path == "/healthz":
            await response.send_ok("application/json", b'{"status":"ok"}')
            return
        state = await self._control.state(STATE_S if path == "/readyz" else None)
        self._configure(state)
        address = state.proxies.client(scope)
        context.client, context.address_group = address.shown, address.group
        if path == "/readyz":
            await self._check_ready(scope, state, context)
            await response.send_ok("application/json", b'{"status":"ready"}')
            return
        with tracing.span("authenticate"):
            key = self._let_in(route, scope["headers"], state, context)
        if key is not None and not route.judges:
            per_minute = state.limits.requests_per_minute
            _check_rate(self._other_requests.take(key.id, Rate(per_minute / 60, max(1, per_minute // 4))), key)
        check_method(route, scope["method"], path)
        if not route.is_own:
            await self._check_debt(state, context)
        limit = body_limit(route, scope["method"], state.limits)
        check_length(scope["headers"], limit)
        if route.is_own:
            await self._respond(scope, state, response)
        else:
            await self._pass_on(scope, receive, route, key, limit, state, response)

    def _let_in(self, route: Route, headers: Headers, state: GateState, context: RequestContext) -> Key | None:
        """The key of a request; None where none is needed. Requests without a valid one are limited by address."""
        if state.no_auth:
            return None
        problem: Problem | None = None
        if route.scope is not None:
            try:
                return key_of(headers, state, route, context)
            except Problem as refusal:
                problem = refusal
        limit = state.limits.anonymous_per_minute
        wait_s = self._anonymous.take(context.address_group, Rate(limit / 60, max(1, limit // 4)))
        if wait_s > 0:
            context.is_closing = True  # a new connection costs the client more than a new request
            detail = f"too many requests without a valid API key from {context.client}; retry in {math.ceil(wait_s)} s"
            raise Problem("rate_limited", detail, retry_after_s=wait_s)
        if problem is not None:
            raise problem
        return None

    async def _check_debt(self, state: GateState, context: RequestContext) -> None:
        """Has a client wait that sent much that came to nothing. Raises Problem where it owes more than a moment."""
        context.sender = context.key_id, context.address_group
        wait_s = self._refusals.wait(context.sender, state.limits)
        if wait_s > 0:
            await asyncio.sleep(min(wait_s, MAX_DELAY_S))
            wait_s = self._refusals.wait(context.sender, state.limits)
        if wait_s > _SLEEP_ERROR_S:
            context.is_closing = True  # with whatever of its body is still to come
            of = "" if context.key_id == "" else f" of the key {context.key}"
            detail = (
                f"too many requests{of} from {context.client} could not be judged; retry in {math.ceil(wait_s)} s, "
                "with images that can be"
            )
            context.sender = None  # being told so costs nothing more
            raise Problem("rate_limited", detail, retry_after_s=wait_s)

    async def _respond(self, scope: Scope, state: GateState, response: GateResponse) -> None:
        """Responds without a replica."""
        path, if_none_match = scope["path"], dict(scope["headers"]).get(b"if-none-match", b"")
        if path == "/metrics":
            await response.send_ok(self._metrics.content_type, self._metrics.text())
        elif path in self._page:
            await response.send_own(self._page[path], if_none_match)
        elif path.startswith("/page/"):
            raise Problem("not_found", f"there is no {path[:200]}")
        else:
            fact = await self._facts.get(path, lambda path: self._forwarder.ask(path, scope, state, response.context))
            await response.send_own(fact, if_none_match)

    async def _pass_on(
        self,
        scope: Scope,
        receive: Receive,
        route: Route,
        key: Key | None,
        limit: int,
        state: GateState,
        response: GateResponse,
    ) -> None:
        """Has a replica respond. Images are paid for before it sees them, as far as they can be counted here."""
        context, limits = response.context, state.limits
        places = (self._places, state.max_ongoing) if route.judges else (self._other_places, _OTHER_PLACES)
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"")
        _check_encoding(headers.get(b"content-encoding", b""))
        with tracing.span("admit"):
            _check_places(*places, context)
            if key is not None and route.judges:
                _check_rate(await self._limiter.admit(key.id, rate_of(key, limits)), key)
        if route.name == "/v1/detect" and _is_json(content_type):
            raise no_upload("application/json")
        bounds = JsonBounds() if _is_json(content_type) else None
        async with AsyncExitStack() as stack:
            with tracing.span("receive"):
                body = await stack.enter_async_context(self._bodies.read(receive, limit, limits, context, bounds))
            form = None
            images = 0
            if route.judges:
                form = await read_form(content_type, body, limits.max_images + MAX_FIELDS)
                context.images = images = images_of(form, limits)
            async with _place(*places, context):
                if key is not None and images > 1:
                    _check_rate(await self._limiter.reserve(key.id, rate_of(key, limits), images - 1), key)
                context.passed_at = time.perf_counter()
                try:
                    with tracing.client_span("forward"):
                        await self._forwarder.forward(scope, receive, body, form, state, response)
                except Problem as problem:
                    context.code = problem.code
                    raise
                finally:
                    if key is not None and images:
                        self._settle(key, images, limits, response)

    def _settle(self, key: Key, images: int, limits: Limits, response: GateResponse) -> None:
        """Charges what the images have cost beyond what was paid for them."""
        context = response.context
        has_left = context.disconnected and not response.complete
        told = [image.pixels for image in response.outcomes.images] if response.outcomes is not None else []
        pixels = response.work or told  # what it takes to decode them, whatever becomes of them
        cost = cost_of(images, pixels, limits, was_given_up=has_left or context.code == "timeout")
        if cost > images:
            self._limiter.charge(key.id, cost - images)

    async def _check_ready(self, scope: Scope, state: GateState, context: RequestContext) -> None:
        async def proxy() -> int:
            return await self._forwarder.proxy_health(scope)

        async def replica() -> int:
            return (await self._forwarder.ask("/readyz", scope, state, context)).status

        await self._readiness.check(state, self._control.is_current(2 * STATE_S), proxy, replica)

    def _levels(self) -> Levels:
        ongoing = self._places.total + self._other_places.total
        cuts = dict(connections.refused)
        return Levels(ongoing, self._bodies.buffered, len(connections), cuts, self._ring.expiries(), self._log.failed)

    def _configure(self, state: GateState) -> None:
        self._ring = state.ring
        if state.limits is not self._limits:
            self._limits = limits = state.limits
            connections.limit(limits.max_connections, limits.max_connections_per_address, state.proxies)
        self._log.configure(state.access_log)
        tracing.configure(state.otlp_endpoint, "gate")

    def _account(self, context: RequestContext, response: GateResponse) -> None:
        now = time.perf_counter()
        seconds = now - context.started
        if context.sender is not None and self._limits is not None:
            ended = _ended(context, response, now)
            self._refusals.ended(context.sender, ended, self._limits)
            if (more := ended.cost - max(1, context.images)) > 0:
                self._limiter.charge(context.key_id, more)
        self._metrics.count(context, seconds, response.outcomes)
        if context.route not in _NOT_LOGGED:
            self._log.request(context, seconds, response.outcomes)


def _context_of(scope: Scope) -> RequestContext:
    headers = scope["headers"]
    context = RequestContext(request_id_of(headers), scope["path"], scope["method"], time.perf_counter())
    context.route = route_of(scope["path"]).name
    values = dict(headers)
    context.user_agent = values.get(b"user-agent", b"").decode("latin-1")
    context.is_closing = values.get(b"connection", b"").lower() == b"close"
    length = values.get(b"content-length", b"0")[:20]
    context.declared = int(length) if length.isdigit() and b"transfer-encoding" not in values else None
    return context


def _ended(context: RequestContext, response: GateResponse, now: float) -> Ended:
    counts = response.outcomes.counts if response.outcomes is not None else {}
    verdicts = sum(images for outcome, images in counts.items() if outcome in VERDICTS)
    has_left = context.code == "disconnected" and not response.started.is_set()
    return Ended(
        code=context.code,
        num_bytes=context.num_read,
        images=context.images,
        verdicts=verdicts,
        failed=sum(counts.values()) - verdicts,
        has_passed=context.has_passed,
        has_left=has_left and (context.passed_at is None or now - context.passed_at < _IMPATIENT_S),
    )


def _check_encoding(encoding: bytes) -> None:
    if encoding.strip().lower() not in (b"", b"identity"):
        words = f"Content-Encoding {encoding.decode('latin-1')[:50]}: send the body as it is, not compressed"
        raise Problem("unsupported_media", words)


def _is_json(content_type: bytes) -> bool:
    return content_type.split(b";")[0].strip().lower() == b"application/json"


@contextmanager
def _traced(scope: Scope, context: RequestContext) -> Iterator[None]:
    """The span of a request, unless it is one of those that ask the server how it is."""
    if not tracing.is_on() or context.route in _NOT_LOGGED:
        yield
        return
    method = scope["method"] if scope["method"] in _METHODS else "HTTP"
    facts = {"http.request.method": method, "http.route": context.route}
    with tracing.server_span(
        f"{method} {context.route}", scope["headers"], request_id=context.request_id, **facts
    ) as span:
        context.trace_id = tracing.trace_id(span)
        try:
            with log_fields(trace_id=context.trace_id):
                yield
        except Problem as problem:
            context.status, context.code = problem.status, problem.code
            raise
        finally:
            tracing.describe(span, code=context.code or None, num_bytes=context.num_bytes)
            tracing.describe(span, **{"http.response.status_code": context.status or None})
            if context.status >= 500:
                tracing.fail(span)


def _check_places(places: Shares, capacity: int, context: RequestContext) -> None:
    if places.total >= capacity:
        raise Problem("overloaded", f"{places.total} requests are in flight already; try again later")
    if context.key_id and not places.allows(context.key_id, 1, capacity):
        raise Problem("overloaded", "too many requests of this key are in flight already; try again later")


@asynccontextmanager
async def _place(places: Shares, capacity: int, context: RequestContext) -> AsyncIterator[None]:
    """A place in the queue before the replicas. Raises Problem where there is none."""
    _check_places(places, capacity, context)
    places.take(context.key_id, 1)
    try:
        yield
    finally:
        places.give_back(context.key_id, 1)


def _check_rate(wait_s: float, key: Key) -> None:
    if wait_s > 0:
        detail = f"rate limit of the key {key.name} reached; retry in {math.ceil(wait_s)} s"
        raise Problem("rate_limited", detail, retry_after_s=wait_s)
