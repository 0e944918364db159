"""GET of S3 objects through the client that s3fs configures: one request each, If-Match on the manifest's etag."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fakescan.storage.errors import http_status, root_cause
from fakescan.storage.store import Store, make_filesystem
from fakescan.storage.transport.base import (
    REPLACED,
    Body,
    ObjectVersion,
    Request,
    check_etag,
    check_size,
    decoded,
    normal_etag,
    read_on,
    refuse_too_large,
    span_header,
)
from fakescan.storage.transport.bytes_in_flight import UNBOUNDED, Room
from fakescan.storage.url import split_bucket
from fakevlm.errors import ErrorCode, ImageError

_LAST_REQUESTS_S = 120.0
"""Seconds after which a client that was replaced is closed."""


class S3Transport:
    """Reads S3 objects. Retries are the caller's: every request is sent once."""

    def __init__(self, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> None:
        self._store, self._max_bytes, self._connections, self._timeout_s = store, max_bytes, connections, timeout_s
        self._filesystem: Any = None
        self._client: Any = None
        self._arguments: dict[str, Any] = {}
        self._opening = asyncio.Lock()
        self._replaced: set[asyncio.Task[None]] = set()

    async def read(self, request: Request, room: Room = UNBOUNDED) -> Body:
        client = self._client or await self._open()
        bucket, key = split_bucket(request.uri)
        arguments = {**self._arguments, **span_header(request)}
        if request.etag:
            arguments["IfMatch"] = f'"{request.etag}"'
        answer = await self._get(client, request, Bucket=bucket, Key=key, **arguments)
        body = answer["Body"]
        try:
            length = answer.get("ContentLength")
            if request.length is None:
                refuse_too_large(length, self._max_bytes)
            if length is not None:
                await room.reserve(length)
                data = bytes(await body.read())
            else:
                data = await read_on(_pieces(body), room, self._max_bytes)
        finally:
            body.close()
        etag = answer.get("ETag")
        version = ObjectVersion(
            normal_etag(etag) if etag else None, answer.get("VersionId"), answer.get("LastModified")
        )
        if request.length is not None:
            if len(data) != request.length:
                raise ImageError(ErrorCode.CHANGED, "the object is no longer the one in the manifest: it ends early")
            return Body(data, version)
        plain = await decoded(data, answer.get("ContentEncoding"), room, self._max_bytes)
        # Some gateways pack on the way what they list by its plain size.
        check_size(request, len(plain) if request.size == len(plain) else len(data))
        return Body(plain, version)

    async def _get(self, client: Any, request: Request, **arguments: Any) -> Any:
        """The answer to a GET. Some servers compare If-Match with their own spelling of an etag: then we compare."""
        try:
            return await client.get_object(**arguments)
        except Exception as error:
            if "IfMatch" not in arguments or http_status(root_cause(error)) != 412:
                raise
        del arguments["IfMatch"]
        answer = await client.get_object(**arguments)
        try:
            if not answer.get("ETag"):
                raise ImageError(ErrorCode.CHANGED, REPLACED)
            check_etag(request, answer["ETag"])
        except ImageError:
            answer["Body"].close()
            raise
        return answer

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is not None:
                return self._client
            filesystem = make_filesystem(self._store, "s3", attempts=1, asynchronous=True)
            filesystem.config_kwargs["max_pool_connections"] = self._connections
            filesystem.config_kwargs["read_timeout"] = self._timeout_s
            if not filesystem.anon:
                filesystem.config_kwargs.setdefault("signature_version", "s3v4")
            client = await filesystem.set_session()
            # Requester pays, SSE-C keys and the like, from the store's options.
            self._arguments = filesystem._get_s3_method_kwargs(client.get_object)
            self._filesystem, self._client = filesystem, client
            return client

    async def renew(self) -> None:
        async with self._opening:
            old, self._filesystem, self._client = self._filesystem, None, None
        if old is not None:
            task = asyncio.ensure_future(_close(old, _LAST_REQUESTS_S))  # requests in flight still use it
            self._replaced.add(task)
            task.add_done_callback(self._replaced.discard)

    async def close(self) -> None:
        for task in list(self._replaced):
            task.cancel()  # which closes at once
        await asyncio.gather(*self._replaced, return_exceptions=True)
        if self._filesystem is not None:
            await _close(self._filesystem)


async def _pieces(body: Any) -> AsyncIterator[bytes]:
    while piece := await body.read(2**16):
        yield bytes(piece)


async def _close(filesystem: Any, delay_s: float = 0.0) -> None:
    try:
        await asyncio.sleep(delay_s)
    finally:
        await filesystem._s3creator.__aexit__(None, None, None)
