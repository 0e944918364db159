"""What the gate reads of a form before a replica parses it: how many files it has, and whether it asks for a stream."""

import asyncio
import re
from dataclasses import dataclass

_BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_WINDOW = 1 << 20
"""Bytes that are searched at a time; others have their turn in between."""
_MAX_PART_HEADERS = 8192


@dataclass(frozen=True)
class Form:
    """A multipart body, as far as it concerns the gate."""

    files: int
    """Parts with a file name; or that could have one."""
    parts: int
    """All parts."""
    has_stream: bool
    """Whether one is the option `stream`."""


async def read_form(content_type: bytes, body: bytes, max_parts: int) -> Form | None:
    """The form that a body is; None for another body. It stops to count at `max_parts` and one more.

    Files are rather counted twice than missed: they are charged, and counted again when they have been judged.
    """
    if not content_type.lower().startswith(b"multipart/"):
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    delimiter = b"--" + (found[1] or found[2])
    files = parts = 0
    has_stream = False
    position = 0
    for start in range(0, len(body), _WINDOW):
        if start:
            await asyncio.sleep(0)
        end = start + _WINDOW + len(delimiter) - 1
        while parts <= max_parts:
            position = body.find(delimiter, max(position, start), end)
            if position < 0:
                break
            position += len(delimiter)
            if body.startswith(b"--", position):
                continue  # the end, or what pretends to be it
            parts += 1
            headers = body[position : position + _MAX_PART_HEADERS].partition(b"\r\n\r\n")[0].lower()
            files += b"filename" in headers or len(headers) == _MAX_PART_HEADERS
            has_stream = has_stream or b'name="stream"' in headers or b"name=stream" in headers
        position = max(position, 0)
    return Form(files, parts, has_stream)
