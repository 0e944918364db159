"""GET of S3 objects through the client that s3fs configures: one request each, If-Match on the manifest's etag."""

import asyncio
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
    refuse_too_large,
    span_header,
)
from fakescan.storage.url import split_bucket
from fakevlm.errors import ErrorCode, ImageError


class S3Transport:
    """Reads S3 objects. Retries are the caller's: every request is sent once."""

    def __init__(self, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> None:
        self._store, self._max_bytes, self._connections, self._timeout_s = store, max_bytes, connections, timeout_s
        self._filesystem: Any = None
        self._client: Any = None
        self._arguments: dict[str, Any] = {}
        self._opening = asyncio.Lock()

    async def read(self, request: Request) -> Body:
        if self._client is None:
            await self._open()
        bucket, key = split_bucket(request.uri)
        arguments = {**self._arguments, **span_header(request)}
        if request.etag:
            arguments["IfMatch"] = f'"{request.etag}"'
        answer = await self._get(request, Bucket=bucket, Key=key, **arguments)
        body = answer["Body"]
        try:
            length = answer.get("ContentLength")
            if request.length is None:
                refuse_too_large(length, self._max_bytes)
            data = bytes(await body.read()) if length is not None else await self._read_on(body)
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
        plain = decoded(data, answer.get("ContentEncoding"), self._max_bytes)
        # Some gateways pack on the way what they list by its plain size.
        check_size(request, len(plain) if request.size == len(plain) else len(data))
        return Body(plain, version)

    async def _get(self, request: Request, **arguments: Any) -> Any:
        """The answer to a GET. Some servers compare If-Match with their own spelling of an etag: then we compare."""
        try:
            return await self._client.get_object(**arguments)
        except Exception as error:
            if "IfMatch" not in arguments or http_status(root_cause(error)) != 412:
                raise
        del arguments["IfMatch"]
        answer = await self._client.get_object(**arguments)
        try:
            if not answer.get("ETag"):
                raise ImageError(ErrorCode.CHANGED, REPLACED)
            check_etag(request, answer["ETag"])
        except ImageError:
            answer["Body"].close()
            raise
        return answer

    async def _read_on(self, body: Any) -> bytes:
        """A body of unknown length, never holding much more than the limit."""
        pieces, received = [], 0
        while piece := await body.read(2**16):
            pieces.append(piece)
            received += len(piece)
            if received > self._max_bytes:
                raise ImageError(ErrorCode.TOO_LARGE, f"the object has more than {self._max_bytes} bytes")
        return b"".join(pieces)

    async def _open(self) -> None:
        async with self._opening:
            if self._client is not None:
                return
            filesystem = make_filesystem(self._store, "s3", attempts=1, asynchronous=True)
            filesystem.config_kwargs["max_pool_connections"] = self._connections
            filesystem.config_kwargs["read_timeout"] = self._timeout_s
            if not filesystem.anon:
                filesystem.config_kwargs.setdefault("signature_version", "s3v4")
            client = await filesystem.set_session()
            # Requester pays, SSE-C keys and the like, from the store's options.
            self._arguments = filesystem._get_s3_method_kwargs(client.get_object)
            self._filesystem, self._client = filesystem, client

    async def close(self) -> None:
        if self._filesystem is not None:
            await self._filesystem._s3creator.__aexit__(None, None, None)
