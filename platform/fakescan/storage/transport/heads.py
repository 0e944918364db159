"""Reads the first bytes of many objects, as a look at what they are."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fakescan.storage.errors import classify, is_transient
from fakescan.storage.io_loop import io_loop
from fakescan.storage.store import Store
from fakescan.storage.transport.base import Request
from fakescan.storage.transport.factory import shared_transport
from fakescan.storage.transport.local import read_local
from fakescan.storage.url import scheme_of
from fakevlm.errors import ImageError

_AT_ONCE = 32
_TIMEOUT_S = 10.0
_ATTEMPTS = 2
_PAUSE_S = 0.3
_LOCAL_THREADS = 8
_LOCAL_BATCH = 64

Heads = list[bytes | str]


def read_heads(requests: Sequence[Request], store: Store, *, seconds: float) -> Heads:
    """The bytes of each span, in the order of the requests, or one line that says why there are none.

    All requests are to one store, which is not the web. Raises for no object, and takes about `seconds` at most: what
    was not read by then is "not read in time".
    """
    found: Heads = ["not read in time"] * len(requests)
    if not requests or seconds <= 0:
        return found
    if scheme_of(requests[0].uri) == "file":
        _read_local(requests, found, time.monotonic() + seconds)
    else:
        io_loop().run(_read_remote(requests, found, store, seconds))
    return found


def _read_local(requests: Sequence[Request], found: Heads, deadline: float) -> None:
    def read(first: int) -> None:
        for index, request in enumerate(requests[first : first + _LOCAL_BATCH], first):
            if time.monotonic() > deadline:
                return
            try:
                found[index] = read_local(request, request.length or 0).data
            except Exception as error:  # noqa: BLE001 - whatever one object does is its own
                found[index] = _why(error)

    with ThreadPoolExecutor(_LOCAL_THREADS, thread_name_prefix="fakescan-look") as pool:
        list(pool.map(read, range(0, len(requests), _LOCAL_BATCH)))


async def _read_remote(requests: Sequence[Request], found: Heads, store: Store, seconds: float) -> None:
    waiting = iter(enumerate(requests))

    async def work() -> None:
        for index, request in waiting:  # shared: each worker takes the next one
            found[index] = await _read(request, store)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(requests))):
                group.create_task(work())


async def _read(request: Request, store: Store) -> bytes | str:
    for attempt in itertools.count(1):
        try:
            transport = shared_transport(
                scheme_of(request.uri),
                store,
                max_bytes=request.length or 0,
                connections=_AT_ONCE,
                timeout_s=_TIMEOUT_S,
            )
            async with asyncio.timeout(_TIMEOUT_S):
                return (await transport.read(request)).data
        except Exception as error:  # noqa: BLE001 - as above
            if not is_transient(error) or attempt == _ATTEMPTS:
                return _why(error)
        await asyncio.sleep(_PAUSE_S)
    raise AssertionError("the loop has no end")


def _why(error: Exception) -> str:
    return error.message if isinstance(error, ImageError) else classify(error)[1]
