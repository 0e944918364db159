"""Responses that are streams of server-sent events."""

from collections.abc import AsyncGenerator

from starlette.responses import StreamingResponse


def event_stream(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """The response that sends these events as they come, and closes their generator."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
