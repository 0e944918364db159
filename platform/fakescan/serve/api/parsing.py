"""Parses bodies: small ones at once, large ones in threads, so that the event loop goes on meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Parsed = TypeVar("Parsed")

_AT_ONCE_BYTES = 256 * 2**10
"""Up to this size parsing takes about a millisecond, less than a thread's turn."""
# Few: more would only share the one interpreter, and hold more copies at once.
_threads = ThreadPoolExecutor(2, thread_name_prefix="parse")


async def parse(function: Callable[[bytes], Parsed], body: bytes) -> Parsed:
    """`function` of the body. Raises what it raises."""
    if len(body) <= _AT_ONCE_BYTES:
        return function(body)
    return await asyncio.get_running_loop().run_in_executor(_threads, function, body)
