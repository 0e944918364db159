"""A short way from the gate to a replica: one call with the whole request, and the whole answer back.

Serve's proxy carries a request to a replica in a stream of messages both ways, several calls for each. An answer that
is sent at once needs one. Streams, and all else, go Serve's way.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope

logger = logging.getLogger("ray.serve.fakescan")


@dataclass(frozen=True)
class WholeRequest:
    """What of an HTTP request the application needs."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True)
class WholeResponse:
    """An HTTP answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class FastPath(Protocol):
    """Calls a replica. Raises what Serve raises: a full queue, a lost replica."""

    async def __call__(self, request: WholeRequest) -> WholeResponse:
        """The replica's answer. Cancelling cancels the request in the replica."""
        ...


async def run_whole(app: ASGIApp, request: WholeRequest) -> WholeResponse:
    """In the replica: the application's answer to a whole request."""
    status, headers, parts = 500, list[tuple[bytes, bytes]](), list[bytes]()
    unread = True

    async def receive() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": request.body, "more_body": False}
        await asyncio.Event().wait()  # a client that leaves cancels the call
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        else:
            parts.append(message.get("body", b""))

    try:
        await app(_scope(request), receive, send)
    except Exception as error:
        if not parts:
            raise
        # Starlette answers for an error of the application, and raises it all the same.
        logger.debug("the application answered %d for %r", status, error)
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


def is_whole(scope: Mapping[str, Any], body: bytes) -> bool:
    """Whether the answer to this request is sent at once, as far as its head and a look at its form can tell."""
    if scope["method"] != "POST" or scope["path"] != "/v1/detect":
        return False
    headers = dict(scope["headers"])
    if b"text/event-stream" in headers.get(b"accept", b"") or b"stream" in scope["query_string"]:
        return False
    form = headers.get(b"content-type", b"").lower().startswith(b"multipart/")
    return not (form and b'name="stream"' in body)


async def until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def status_of(error: Exception) -> int | None:
    """The status with which Serve's proxy would have answered this error of a call; None for a lost replica."""
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    return 503 if isinstance(error, BackPressureError | DeploymentUnavailableError) else None
