"""Reads the bodies of requests within bounds of size and time, and of the memory that one proxy has for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from fakescan.serve.config import Limits
from fakescan.serve.gate.auth import too_large
from fakescan.serve.gate.request_context import DisconnectedError, RequestContext
from fakescan.serve.problem import Problem


class BodyReader:
    """The bodies that one proxy holds."""

    def __init__(self) -> None:
        self.buffered = 0
        """Bytes of bodies in memory."""

    @asynccontextmanager
    async def read(self, receive: Receive, limits: Limits, context: RequestContext) -> AsyncIterator[bytes]:
        """The body of a request, whose bytes count as held until the block ends.

        Raises Problem for a body that is too large, too slow or has no room, and DisconnectedError.
        """
        parts: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(limits.upload_timeout_s):
                    more = True
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise DisconnectedError
                        part = message.get("body", b"")
                        if size + len(part) > limits.max_body_bytes:
                            raise too_large(limits)
                        if self.buffered + len(part) > limits.max_buffered_bytes:
                            raise Problem("overloaded", "the server's memory for bodies is full; try again later")
                        parts.append(part)
                        size += len(part)
                        self.buffered += len(part)
                        more = message.get("more_body", False)
            except TimeoutError:
                raise Problem(
                    "upload_timeout", f"the body did not arrive within {limits.upload_timeout_s:g} s"
                ) from None
            context.num_bytes = size
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self.buffered -= size
