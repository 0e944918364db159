"""Reads from any other store that fsspec knows, such as Google Cloud Storage and Azure."""

import asyncio
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from fakescan.storage.store import Store
from fakescan.storage.transport.base import (
    REPLACED,
    Body,
    ObjectVersion,
    Request,
    check_etag,
    check_size,
    refuse_too_large,
    version_of_entry,
)
from fakescan.storage.transport.bytes_in_flight import UNBOUNDED, Room
from fakescan.storage.weather.credentials import renew_clients
from fakevlm.errors import ErrorCode, ImageError


class FsspecTransport:
    """Reads through the file system that fsspec has for the store.

    These have no common conditional read: the version is asked for after the bytes when the manifest knows one.
    """

    def __init__(self, store: Store, *, max_bytes: int) -> None:
        self._store, self._max_bytes = store, max_bytes

    async def read(self, request: Request, room: Room = UNBOUNDED) -> Body:
        filesystem, path = self._store.filesystem(request.uri, attempts=1)
        version = ObjectVersion(request.etag)
        if request.length is None:
            if request.size is None:
                info = await _await(filesystem, "info", path)
                refuse_too_large(info.get("size"), self._max_bytes)
                version = version_of_entry(info)
                await room.reserve(info.get("size") or 0)
            body = bytes(await _await(filesystem, "cat_file", path))
            check_size(request, len(body))
        else:
            first = request.first or 0
            body = bytes(await _await(filesystem, "cat_file", path, start=first, end=first + request.length))
            if len(body) != request.length:
                raise ImageError(ErrorCode.CHANGED, f"{REPLACED}: the span ends early")
        if request.etag:
            version = version_of_entry(await _await(filesystem, "info", path))
            check_etag(request, version.etag)
        return Body(body, version)

    async def renew(self) -> None:
        await asyncio.to_thread(renew_clients)

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
