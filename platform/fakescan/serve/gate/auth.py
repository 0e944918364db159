"""What the gate reads in a request's headers: its id, its key, its length; and the headers that a replica gets."""

import re
import secrets
from collections.abc import Iterable

from fakescan.serve.config import Limits
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.gate.rate_limit import Rate
from fakescan.serve.gate.request_context import RequestContext
from fakescan.serve.internal_headers import GATE_TOKEN, KEY_NAME, REQUEST_ID
from fakescan.serve.keys import Key
from fakescan.serve.problem import Problem

Headers = Iterable[tuple[bytes, bytes]]

PUBLIC = frozenset({"/", "/readyz", "/v1/about", "/openapi.json"})
"""Paths that need no key, beside /page/ and /healthz."""
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
# A client must not steer Serve's time-outs, its routing or what the gate says to the replica.
_DROPPED = re.compile(
    rb"x-fakescan-.*|x-request-(?:timeout-seconds|disconnect-disabled)|x-serve-.*|x-session-id|"
    rb"serve[-_]multiplexed[-_]model[-_]id|x-request-id|authorization|x-api-key"
)


def request_id_of(headers: Headers) -> str:
    """The id that the client chose, if it is a plain one, else a new one."""
    chosen = dict(headers).get(REQUEST_ID, b"")
    return chosen.decode() if _ID.fullmatch(chosen) else secrets.token_hex(8)


def is_public(path: str) -> bool:
    """Whether a path needs no key."""
    return path in PUBLIC or path.startswith("/page/")


def key_of(headers: Headers, state: GateState, path: str) -> Key:
    """The key of a request. Raises Problem: `unauthorized`, or `forbidden` for a path that the key does not open."""
    values = dict(headers)
    scheme, _, credentials = values.get(b"authorization", b"").decode("latin-1").partition(" ")
    presented = credentials.strip() if scheme.lower() == "bearer" else values.get(b"x-api-key", b"").decode("latin-1")
    if not presented:
        raise Problem("unauthorized", "send an API key as `Authorization: Bearer KEY`")
    key = state.ring.find(presented)
    if key is None:
        raise Problem("unauthorized", "the API key is unknown or has been disabled")
    scope = "scans" if path.startswith("/v1/scans") else "detect"
    if scope not in key.scopes:
        raise Problem("forbidden", f"the key {key.name} does not have the scope {scope}")
    return key


def rate_of(key: Key, limits: Limits) -> Rate:
    """How fast a key may send images."""
    return Rate((key.per_minute or limits.per_minute) / 60, key.burst or limits.burst)


def check_length(headers: Headers, limits: Limits) -> None:
    """Refuses a body whose Content-Length is too large, before it comes."""
    length = dict(headers).get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > limits.max_body_bytes:
        raise too_large(limits)


def too_large(limits: Limits) -> Problem:
    """The refusal of a body that is too large."""
    return Problem("too_large", f"the body is larger than {limits.max_body_bytes} bytes; send fewer or smaller images")


def forwarded_headers(headers: Headers, state: GateState, context: RequestContext) -> list[tuple[bytes, bytes]]:
    """The headers that go to the replica: the client's, less what would steer Serve, and the gate's own."""
    return [
        *((name, value) for name, value in headers if not _DROPPED.fullmatch(name)),
        (GATE_TOKEN, state.gate_token.encode()),
        (KEY_NAME, context.key.encode()),
        (REQUEST_ID, context.request_id.encode()),
    ]
