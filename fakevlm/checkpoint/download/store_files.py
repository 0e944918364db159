"""The bytes of files behind fsspec's file systems, from any offset on and without waiting forever for the next ones."""

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem

from fakevlm.checkpoint.download.transfer import RemoteFile, Stream, WrongFileError, span_of
from fakevlm.remote import ANSWER_S, NoAnswerError

T = TypeVar("T")

_SMALLEST, _FIRST, _LARGEST = 2**16, 2**20, 2**23
"""Bytes of one request where a store is read in blocks."""
_BLOCK_S = 8.0
"""Seconds that a block may take; then the smallest one is asked for, which tells a slow store from a silent one."""


def is_web(filesystem: Any) -> bool:
    """Whether the file system is a web server."""
    return "https" in filesystem.protocol


def remote_files(filesystem: Any, entries: dict[str, dict[str, Any]], folder: Path) -> list[RemoteFile]:
    """The files that a listing names, to be downloaded into `folder`."""
    make = _web_file if is_web(filesystem) else _store_file
    return [make(filesystem, entry, folder / name) for name, entry in entries.items()]


def _store_file(filesystem: Any, entry: dict[str, Any], place: Path) -> RemoteFile:
    path = str(entry["name"])
    size = entry["size"] if entry["size"] is not None else filesystem.size(path)
    if size is None:
        raise WrongFileError(f"the store does not say how large {place.name} is")

    @contextmanager
    def stream(first: int) -> Iterator[Stream]:
        yield Stream(first, _blocks(filesystem, path, first, size), size)

    return RemoteFile(place.name, size, place.with_name(f"{place.name}.part"), place, stream)


def _blocks(filesystem: Any, path: str, first: int, size: int) -> Iterator[bytes]:
    block = _FIRST
    while first < size:
        began, end = time.monotonic(), min(first + block, size)
        try:
            data = _block(filesystem, path, first, end)
        except TimeoutError:
            if block == _SMALLEST:
                raise
            block = _SMALLEST
            continue
        if len(data) != end - first:
            raise WrongFileError(f"{len(data)} bytes came where {end - first} were asked for")
        yield data
        first, took = end, time.monotonic() - began
        if took < 1:
            block = min(2 * block, _LARGEST)
        elif took > _BLOCK_S / 2:
            block = max(block // 2, _SMALLEST)


def _block(filesystem: Any, path: str, first: int, end: int) -> bytes:
    if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
        return bytes(_awaited(filesystem, filesystem._cat_file(path, start=first, end=end), _BLOCK_S))
    return bytes(filesystem.cat_file(path, start=first, end=end))


def _awaited(filesystem: Any, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of a coroutine on the file system's loop, which is cancelled where it takes too long."""
    future = asyncio.run_coroutine_threadsafe(coroutine, filesystem.loop)
    try:
        return future.result(seconds)
    except TimeoutError:
        future.cancel()
        raise NoAnswerError(f"nothing came for {seconds:.0f} s") from None


def _web_file(filesystem: Any, entry: dict[str, Any], place: Path) -> RemoteFile:
    url = str(entry["name"])
    headers = _awaited(filesystem, _head(filesystem, url), ANSWER_S)
    length = headers.get("Content-Length", "")
    size = int(length) if length.isdigit() and headers.get("Content-Encoding", "identity") == "identity" else None
    version = headers.get("ETag") or headers.get("Last-Modified")
    tag = hashlib.sha256(f"{size} {version}".encode()).hexdigest()[:8]

    @contextmanager
    def stream(first: int) -> Iterator[Stream]:
        answer = _awaited(filesystem, _get(filesystem, url, first), ANSWER_S)
        try:
            if answer.status == 404:
                raise FileNotFoundError(2, "not found")
            answer.raise_for_status()
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise WrongFileError("what answers is a web page, as of a login or a proxy")
            begins, whole = span_of(answer.headers, answer.status)
            yield Stream(begins, _pieces(filesystem, answer), whole)
        finally:
            filesystem.loop.call_soon_threadsafe(answer.close)

    part = place.with_name(f"{place.name}.{tag}.part")
    return RemoteFile(place.name, size, part, place, stream, can_resume=version is not None)


async def _head(filesystem: Any, url: str) -> Any:
    """The headers of the file; none where the server does not answer such a request."""
    answer = await _request(filesystem, "head", url, {})
    async with answer:
        return answer.headers if answer.status == 200 else {}


async def _get(filesystem: Any, url: str, first: int) -> Any:
    return await _request(filesystem, "get", url, {"Range": f"bytes={first}-"} if first else {})


async def _request(filesystem: Any, method: str, url: str, headers: dict[str, str]) -> Any:
    import aiohttp

    session = await filesystem.set_session()
    options = {
        **filesystem.kwargs,
        "allow_redirects": True,
        # Not the client's five minutes for everything: a model takes longer.
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S / 2, sock_read=ANSWER_S / 2),
        "headers": {**filesystem.kwargs.get("headers", {}), "Accept-Encoding": "identity", **headers},
    }
    return await getattr(session, method)(filesystem.encode_url(url), **options)


def _pieces(filesystem: Any, answer: Any) -> Iterator[bytes]:
    while piece := _awaited(filesystem, answer.content.readany(), ANSWER_S):
        yield piece
