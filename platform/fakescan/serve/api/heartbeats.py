"""What keeps a stream of server-sent events going on its way through reverse proxies."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

HEARTBEAT_S = 10.0
"""Seconds of silence after which a comment is sent: proxies end connections that are silent for a minute or less."""
HEARTBEAT = b": keep-alive\n\n"
"""A comment, which every reader of server-sent events ignores."""
STREAM_HEADERS = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",  # nginx would hand on the events together
}


async def with_heartbeats(
    events: AsyncGenerator[bytes, None], period_s: float = HEARTBEAT_S
) -> AsyncGenerator[bytes, None]:
    """The same events, with a comment after every `period_s` seconds without one. Closes `events` when it is closed.

    All events are made in one task, as time limits within their generator need.
    """
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)

    async def pump() -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    await queue.put(event)
        except Exception as error:  # noqa: BLE001 - it is raised again where the events are read
            await queue.put(error)
        else:
            await queue.put(None)

    pumping = asyncio.create_task(pump())
    try:
        while True:
            try:
                async with asyncio.timeout(period_s):
                    event = await queue.get()
            except TimeoutError:
                yield HEARTBEAT
                continue
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event
    finally:
        pumping.cancel()
        await asyncio.wait({pumping})
