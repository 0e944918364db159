"""Comments in a silent stream: between its events, never instead of one."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from fakescan.serve.api.heartbeats import HEARTBEAT, with_heartbeats

pytestmark = pytest.mark.unit


def test_a_silent_stream_has_comments_and_all_its_events() -> None:
    async def run() -> list[bytes]:
        go_on = asyncio.Event()

        async def events() -> AsyncGenerator[bytes, None]:
            yield b"one"
            await go_on.wait()
            yield b"two"
            yield b"three"

        seen = []
        async for event in with_heartbeats(events(), 0.01):
            seen.append(event)
            if seen.count(HEARTBEAT) == 2:
                go_on.set()
        return seen

    seen = asyncio.run(run())
    assert [event for event in seen if event != HEARTBEAT] == [b"one", b"two", b"three"]
    assert seen[:3] == [b"one", HEARTBEAT, HEARTBEAT]


def test_an_error_of_the_stream_is_raised() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise ValueError("broken")

    async def run() -> list[bytes]:
        return [event async for event in with_heartbeats(events())]

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(run())


def test_time_limits_within_the_stream_hold() -> None:
    """They belong to one task, whoever reads the events."""

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            async with asyncio.timeout(0.05):
                yield b"one"
                await asyncio.Event().wait()
        except TimeoutError:
            yield b"late"

    async def run() -> list[bytes]:
        stream = with_heartbeats(events(), 0.01)
        first = await asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        return [first, *[event async for event in stream if event != HEARTBEAT]]

    assert asyncio.run(run()) == [b"one", b"late"]


def test_who_leaves_ends_the_stream() -> None:
    async def run() -> bool:
        ended = False

        async def events() -> AsyncGenerator[bytes, None]:
            nonlocal ended
            try:
                yield b"one"
                await asyncio.Event().wait()
            finally:
                ended = True

        stream = with_heartbeats(events(), 0.01)
        assert await anext(stream) == b"one"
        assert await anext(stream) == HEARTBEAT
        await stream.aclose()
        return ended

    assert asyncio.run(run())
