"""The fast path from the gate to a replica: one call with the whole request, and the whole response back.

Serve's proxy carries a request to a replica as a stream of messages both ways, with several calls for each. A response
that is sent in one piece needs one call. Streams, and all else, take Serve's own path.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope

from fakescan.serve.gate.bounds.form import Form
from fakescan.serve.internal_headers import LAST_OUTCOMES, OUTCOMES

logger = logging.getLogger("ray.serve.fakescan")

NO_DEPLOYMENT = 410
"""Stands for the 503 that Serve's proxy sends where a deployment has gone, which is not that of a full queue."""
NO_DEPLOYMENT_WORDS = b" is unavailable because "
"""By these words of its body the two are told apart."""


@dataclass(frozen=True)
class WholeRequest:
    """The part of an HTTP request that the application needs."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True)
class WholeResponse:
    """An HTTP response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class FastPath(Protocol):
    """Calls a replica. Raises what Serve raises: a full queue, a lost replica."""

    async def __call__(self, request: WholeRequest) -> WholeResponse:
        """The replica's response. Cancelling cancels the request in the replica."""
        ...


async def run_whole(app: ASGIApp, request: WholeRequest) -> WholeResponse:
    """In the replica: the application's response to a whole request."""
    status, headers, parts = 500, list[tuple[bytes, bytes]](), list[bytes]()
    received = False

    async def receive() -> Message:
        nonlocal received
        if not received:
            received = True
            return {"type": "http.request", "body": request.body, "more_body": False}
        await asyncio.Event().wait()  # a client that leaves cancels the call
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        else:
            parts.append(message.get("body", b""))
            if LAST_OUTCOMES in message:
                headers.append((OUTCOMES, message[LAST_OUTCOMES].encode()))

    try:
        await app(_scope(request), receive, send)
    except Exception as error:
        if not parts:
            raise
        # Starlette responds to an error of the application, and raises it all the same.
        logger.debug("the application responded with %d to %r", status, error)
    return WholeResponse(status, headers, b"".join(parts))


def _scope(request: WholeRequest) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query,
        "root_path": "",
        "headers": request.headers,
        "client": None,
        "server": None,
    }


def is_whole(scope: Mapping[str, Any], form: Form | None) -> bool:
    """Whether the response to this request comes in one piece, as far as its headers and its form can tell."""
    if scope["method"] != "POST" or scope["path"] != "/v1/detect":
        return False
    headers = dict(scope["headers"])
    if b"text/event-stream" in headers.get(b"accept", b"") or b"stream" in scope["query_string"]:
        return False
    is_form = headers.get(b"content-type", b"").lower().startswith(b"multipart/")
    return not is_form or (form is not None and not form.has_stream)


async def until_disconnected(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def status_of(error: Exception) -> int | None:
    """The status that Serve's proxy would have sent for this error of a call; None for a lost replica.

    NO_DEPLOYMENT stands for that of a deployment that has gone.
    """
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    if isinstance(error, DeploymentUnavailableError):
        return NO_DEPLOYMENT
    return 503 if isinstance(error, BackPressureError) else None
