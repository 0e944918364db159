"""Sends a request once more where the replica that had it was lost before it began to respond.

A verdict is a function of the request: to make it twice harms nobody. Once and no more, so that a request which kills
its replica does not kill them all.
"""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakescan.serve.internal_headers import FROM_REPLICA

logger = logging.getLogger("ray.serve.fakescan")

LOST = "a replica was lost; the request that it had is sent to another one"


def may_be_resent(method: str, path: str) -> bool:
    """Whether a request may be carried out twice; what starts or stops a scan may not."""
    return method == "GET" or not path.startswith("/v1/scans")


class ResendingApp:
    """Serve's proxy, which responds 500 for a lost replica. Requests must come with their body in one message."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, perhaps twice."""
        if not may_be_resent(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        body: list[Message] = []
        is_lost = False

        async def keep() -> Message:
            message = await receive()
            if not body:
                body.append(message)
            return message

        async def watch(message: Message) -> None:
            nonlocal is_lost
            if message["type"] == "http.response.start" and _is_loss(message):
                is_lost = True
            if not is_lost:
                await send(message)

        await self._app({**scope}, keep, watch)
        if not is_lost:
            return
        logger.warning(LOST)

        async def repeat() -> Message:
            return body.pop() if body else await receive()

        await self._app({**scope}, repeat, send)


def _is_loss(start: Message) -> bool:
    """Whether a response is Serve's own for a lost replica; one that has failed by itself says so in its headers."""
    return start["status"] == 500 and all(name.lower() != FROM_REPLICA for name, _ in start.get("headers", ()))
