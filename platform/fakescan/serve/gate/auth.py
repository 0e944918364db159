"""What the gate reads in a request's headers: its route, id, key and length; and the headers that a replica gets."""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fakescan.serve.config import Limits
from fakescan.serve.gate.bounds.rate_limit import Rate
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.gate.request_context import RequestContext
from fakescan.serve.internal_headers import CLIENT, GATE_TOKEN, KEY_ID, KEY_NAME, REQUEST_ID
from fakescan.serve.keys import Key, Scope
from fakescan.serve.problem import Problem

Headers = Iterable[tuple[bytes, bytes]]

SMALL_BODY = 64 * 1024
"""Bytes of the body of a request that holds no images."""
IGNORED_BODY = 4 * 1024
"""Bytes of a body that is ignored where none is wanted."""


@dataclass(frozen=True)
class Route:
    """What the gate knows of a path."""

    name: str
    """Label in the metrics."""
    methods: tuple[str, ...] = ("GET", "HEAD")
    scope: Scope | None = None
    """What a key must open; None for a path that needs no key."""
    judges: bool = False
    """Whether its body holds images, which are charged."""
    max_body: int = 0
    """Bytes of its body, unless that holds images."""
    is_own: bool = False
    """Whether the gate responds, and no replica."""


_JUDGING = ("/v1/detect", "/v1/chat/completions", "/v1/responses")
_PUBLIC = ("/", "/healthz", "/readyz", "/v1/about", "/openapi.json")
ROUTES: Mapping[str, Route] = {
    **{path: Route(path, is_own=True) for path in _PUBLIC},
    "/metrics": Route("/metrics", scope="metrics", is_own=True),
    "/v1/models": Route("/v1/models", scope="detect", is_own=True),
    **{path: Route(path, ("POST",), "detect", judges=True) for path in _JUDGING},
    "/v1/scans": Route("/v1/scans", ("GET", "POST"), "scans", max_body=SMALL_BODY),
}
"""Routes by their path; see `route_of` for those with a name at the end."""
PUBLIC = frozenset(path for path, route in ROUTES.items() if route.scope is None)
"""Paths that need no key, beside those below /page/."""
_PREFIXES = (
    ("/page/", Route("/page", is_own=True)),
    ("/v1/models/", Route("/v1/models", scope="detect")),
    ("/v1/scans/", Route("/v1/scans", ("GET", "POST"), "scans", max_body=SMALL_BODY)),
)
_UNKNOWN = Route("other", (), "detect", is_own=True)

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
# A client must not steer Serve's time-outs, its routing or what the gate says to the replica.
_DROPPED = re.compile(
    rb"x-fakescan-.*|x-request-(?:timeout-seconds|disconnect-disabled)|x-serve-.*|x-session-id|"
    rb"serve[-_]multiplexed[-_]model[-_]id|x-request-id|authorization|x-api-key|cookie|forwarded|x-forwarded-.*|x-real-ip"
)


def route_of(path: str) -> Route:
    """The route of a path; one without methods for a path that does not exist."""
    return ROUTES.get(path) or next((route for prefix, route in _PREFIXES if path.startswith(prefix)), _UNKNOWN)


def check_method(route: Route, method: str, path: str) -> None:
    """Raises Problem for a path that does not exist, or does not take the method."""
    if not route.methods:
        raise Problem("not_found", f"there is no {path[:200]}; see /openapi.json")
    if method not in route.methods:
        raise Problem(
            "method_not_allowed",
            f"{path[:200]} does not take {method[:20]}; it takes {', '.join(route.methods)}",
            allow=route.methods,
        )


def request_id_of(headers: Headers) -> str:
    """The id that the client chose, if it is a plain one, else a new one."""
    chosen = dict(headers).get(REQUEST_ID, b"")
    return chosen.decode() if _ID.fullmatch(chosen) else secrets.token_hex(8)


def key_of(headers: Headers, state: GateState, route: Route, context: RequestContext) -> Key:
    """The key of a request, whose name the log gets. Raises Problem: `unauthorized`, or `forbidden`.

    `forbidden` is for a path that the key does not open.
    """
    values = dict(headers)
    scheme, _, credentials = values.get(b"authorization", b"").decode("latin-1").partition(" ")
    presented = credentials.strip() if scheme.lower() == "bearer" else values.get(b"x-api-key", b"").decode("latin-1")
    if not presented:
        raise Problem("unauthorized", "send an API key as `Authorization: Bearer KEY`")
    key = state.ring.find(presented)
    if key is None:
        raise Problem("unauthorized", "the API key is unknown, has expired or has been disabled")
    context.key, context.key_id = key.name, key.id
    if route.scope is not None and route.scope not in key.scopes and route is not _UNKNOWN:
        raise Problem("forbidden", f"the key {key.name} does not have the scope {route.scope}")
    return key


def rate_of(key: Key, limits: Limits) -> Rate:
    """How fast a key may send images."""
    return Rate((key.per_minute or limits.per_minute) / 60, key.burst or limits.burst)


def body_limit(route: Route, method: str, limits: Limits) -> int:
    """Bytes that the body of such a request may have."""
    if method in ("GET", "HEAD"):
        return 0
    return limits.max_body_bytes if route.judges else route.max_body


def check_length(headers: Headers, limit: int) -> None:
    """Refuses a body whose Content-Length is too large, before it comes; with a limit of 0 any that is worth a word."""
    values = dict(headers)
    length = values.get(b"content-length", b"")
    num_bytes = int(length[:20]) if length.isdigit() else 0
    if limit == 0 and (b"transfer-encoding" in values or num_bytes > IGNORED_BODY):
        raise Problem("too_large", "this path takes no body; send the request without one")
    if limit and num_bytes > limit:
        raise too_large(limit)


def too_large(limit: int) -> Problem:
    """The refusal of a body that is too large."""
    return Problem("too_large", f"the body is larger than {limit} bytes; send fewer or smaller images")


def forwarded_headers(headers: Headers, state: GateState, context: RequestContext) -> list[tuple[bytes, bytes]]:
    """The headers that go to the replica: the client's, less what would steer Serve, and the gate's own."""
    return [
        *((name, value) for name, value in headers if not _DROPPED.fullmatch(name)),
        (GATE_TOKEN, state.gate_token.encode()),
        (KEY_NAME, context.key.encode()),
        (KEY_ID, context.key_id.encode()),
        (CLIENT, context.client.encode()),
        (REQUEST_ID, context.request_id.encode()),
    ]
