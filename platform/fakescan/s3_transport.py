"""GET of S3 objects over the connections that s3fs configures: one request each, If-Match on the manifest's etag."""

import asyncio
import logging
from typing import Any

import aiohttp
from botocore.awsrequest import AWSPreparedRequest

from fakescan.address import split_bucket
from fakescan.failure import BUSY_STATUS
from fakescan.s3_signature import BucketSigner
from fakescan.store import Store, make_filesystem
from fakescan.transport import Request, check_size, decoded, read_response, refuse_too_large, span_header
from fakevlm.errors import ErrorCode, ImageError

logger = logging.getLogger(__name__)

_PROBE_KEY = "k"


class S3Transport:
    """Reads S3 objects. Retries are the caller's: every request is sent once.

    A request through botocore's client takes about 1 ms of CPU time, most of it spent on finding the endpoint, building
    and signing. Here the endpoint is asked for once per bucket and the request is signed directly; a refusal is
    asked again through the client, which knows redirects, clock skew and every error.
    """

    def __init__(self, store: Store, *, max_bytes: int, connections: int, timeout_s: float) -> None:
        self._store, self._max_bytes, self._connections, self._timeout_s = store, max_bytes, connections, timeout_s
        self._filesystem: Any = None
        self._client: Any = None
        self._arguments: dict[str, Any] = {}
        self._signers: dict[str, BucketSigner | None] = {}
        self._opening = asyncio.Lock()

    async def read(self, request: Request) -> bytes:
        if self._client is None:
            await self._open()
        bucket, key = split_bucket(request.uri)
        if bucket not in self._signers:
            self._signers[bucket] = await self._signer(bucket)
        signer = self._signers[bucket]
        if signer is not None:
            data = await self._read_signed(signer, key, request)
            if data is not None:
                return data
        data = await self._read_through_client(bucket, key, request)
        if signer is not None:
            logger.info("reading the objects of %s through botocore from now on", bucket)
            self._signers[bucket] = None  # it worked there and not here: a redirected region, a clock that is off
        return data

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

    async def _signer(self, bucket: str) -> BucketSigner | None:
        """None where requests need more than a plain signature."""
        if self._arguments or self._filesystem.anon:
            return None
        url = await self._client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE_KEY})
        return BucketSigner.from_presigned(url, _PROBE_KEY)

    async def _read_signed(self, signer: BucketSigner, key: str, request: Request) -> bytes | None:
        """The bytes; None for an answer that the client should judge."""
        credentials = await self._client._request_signer._credentials.get_frozen_credentials()
        url, headers = signer.get(key, credentials.access_key, credentials.secret_key, credentials.token)
        headers |= span_header(request)
        if request.etag:
            headers["if-match"] = f'"{request.etag}"'
        sent = AWSPreparedRequest("GET", url, headers, None, True)
        response = (await self._client._endpoint.http_session.send(sent)).raw
        try:
            if response.status in BUSY_STATUS:
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, message=response.reason or ""
                )
            if response.status not in (200, 206):
                return None
            return await read_response(response, request, self._max_bytes)
        finally:
            response.release()

    async def _read_through_client(self, bucket: str, key: str, request: Request) -> bytes:
        arguments = {**self._arguments, **span_header(request)}
        if request.etag:
            arguments["IfMatch"] = f'"{request.etag}"'
        answer = await self._client.get_object(Bucket=bucket, Key=key, **arguments)
        body = answer["Body"]
        try:
            if request.length is None:
                refuse_too_large(answer["ContentLength"], self._max_bytes)
            data: bytes = await body.read()
        finally:
            body.close()
        if request.length is not None:
            if len(data) != request.length:
                raise ImageError(ErrorCode.CHANGED, "the object is no longer the one in the manifest: it ends early")
            return data
        check_size(request, len(data))
        return decoded(data, answer.get("ContentEncoding"), self._max_bytes)

    async def close(self) -> None:
        if self._filesystem is not None:
            await self._filesystem._s3creator.__aexit__(None, None, None)
