"""Reads from any other store that fsspec knows, such as Google Cloud Storage and Azure."""

import asyncio
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from fakescan.storage.store import Store
from fakescan.storage.transport.base import REPLACED, Request, check_etag, check_size, entry_etag, refuse_too_large
from fakevlm.errors import ErrorCode, ImageError


class FsspecTransport:
    """Reads through the file system that fsspec has for the store.

    These have no common conditional read: the version is asked for after the bytes when the manifest knows one.
    """

    def __init__(self, store: Store, *, max_bytes: int) -> None:
        self._store, self._max_bytes = store, max_bytes

    async def read(self, request: Request) -> bytes:
        filesystem, path = self._store.filesystem(request.uri, attempts=1)
        if request.length is None:
            if request.size is None:
                refuse_too_large((await _await(filesystem, "info", path)).get("size"), self._max_bytes)
            body = bytes(await _await(filesystem, "cat_file", path))
            check_size(request, len(body))
        else:
            first = request.first or 0
            body = bytes(await _await(filesystem, "cat_file", path, start=first, end=first + request.length))
            if len(body) != request.length:
                raise ImageError(ErrorCode.CHANGED, f"{REPLACED}: the span ends early")
        if request.etag:
            check_etag(request, entry_etag(await _await(filesystem, "info", path)))
        return body

    async def close(self) -> None:
        """The file system closes its own connections."""


async def _await(filesystem: AbstractFileSystem, method: str, *arguments: object, **options: object) -> Any:
    """A file system's method, on its own event loop if it has one, else on a thread.

    Not an asynchronous instance on this loop: some close their sessions only on the loop that fsspec runs.
    """
    if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
        coroutine = getattr(filesystem, f"_{method}")(*arguments, **options)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, filesystem.loop))
    return await asyncio.to_thread(getattr(filesystem, method), *arguments, **options)
