"""Reads the bodies of requests within bounds of size and time, and of the memory that one proxy has for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive

from fakescan.serve.config import Limits
from fakescan.serve.gate.auth import too_large
from fakescan.serve.gate.bounds.json_bounds import JsonBounds
from fakescan.serve.gate.bounds.shares import Shares
from fakescan.serve.gate.request_context import DisconnectedError, RequestContext
from fakescan.serve.problem import Problem

_KEY_PORTION, _ADDRESS_PORTION = 1.0, 3.0
"""A key alone may hold half of the memory and an address three quarters, see `Shares`: behind one address there may be
several keys, one of them greedy."""
_FULL_SHARE_S = 0.5
"""Seconds after which a client is told that its share is full: it is the one that can wait."""


class BodyReader:
    """The bodies that one proxy holds."""

    def __init__(self) -> None:
        self._keys = Shares(_KEY_PORTION)
        self._addresses = Shares(_ADDRESS_PORTION)

    @property
    def buffered(self) -> int:
        """Bytes of bodies in memory."""
        return self._addresses.total

    @asynccontextmanager
    async def read(
        self, receive: Receive, limit: int, limits: Limits, context: RequestContext, bounds: JsonBounds | None = None
    ) -> AsyncIterator[bytes]:
        """The body of a request, of `limit` bytes at most, whose bytes count as held until the block ends.

        `bounds`: of what it may hold; None for a body that is no JSON. Raises Problem for a body that is too large, too
        slow, holds too much or has no room, and DisconnectedError.
        """
        parts: list[bytes] = []
        size = 0
        key, address = context.key_id, context.address_group
        try:
            # What has no room now will have none when it has come.
            await self._check_room(key, address, context.declared or 0, limits.max_buffered_bytes)
            try:
                async with asyncio.timeout(limits.upload_timeout_s):
                    more = True
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise DisconnectedError
                        part = message.get("body", b"")
                        context.num_read += len(part)
                        if size + len(part) > limit:
                            raise too_large(limit)
                        if bounds is not None:
                            _check(part, bounds, context)
                        await self._check_room(key, address, len(part), limits.max_buffered_bytes)
                        parts.append(part)
                        size += len(part)
                        self._addresses.take(address, len(part))
                        self._keys.take(key, len(part))
                        more = message.get("more_body", False)
            except TimeoutError:
                raise Problem(
                    "upload_timeout", f"the body did not arrive within {limits.upload_timeout_s:g} s"
                ) from None
            context.num_bytes, context.has_body = size, True
            if bounds is not None:
                bounds.end()
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            yield body
        finally:
            self._addresses.give_back(address, size)
            self._keys.give_back(key, size)

    async def _check_room(self, key: str, address: str, amount: int, capacity: int) -> None:
        if not amount:
            return
        if self.buffered + amount > capacity:
            raise Problem("overloaded", "the server's memory for bodies is full; try again later")
        # Without keys there are only addresses to tell clients apart by.
        if key and not self._keys.allows(key, amount, capacity):
            whose = "of this key's requests"
        elif not self._addresses.allows(address, amount, capacity):
            whose = "from this address"
        else:
            return
        await asyncio.sleep(_FULL_SHARE_S)
        raise Problem("overloaded", f"the bodies {whose} fill its share of the server's memory; try again later")


def _check(part: bytes, bounds: JsonBounds, context: RequestContext) -> None:
    try:
        bounds.feed(part)
    except Problem:
        context.is_closing = True  # nothing more of it is wanted, which may be much
        raise
