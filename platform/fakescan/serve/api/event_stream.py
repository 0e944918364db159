"""Responses that are streams of server-sent events."""

from collections.abc import AsyncGenerator

from starlette.responses import StreamingResponse

from fakescan.serve.api.heartbeats import STREAM_HEADERS, with_heartbeats


def event_stream(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """The response that sends these events as they come, and closes their generator."""
    return StreamingResponse(with_heartbeats(events), media_type="text/event-stream", headers=STREAM_HEADERS)
