"""The application of a replica with a simulated engine, without Serve and its gate."""

import asyncio
import functools
from typing import Any, cast

import httpx
from starlette.types import ASGIApp

from fakescan.serve.api.routes import make_app
from fakescan.serve.detector import Detector
from fakescan.serve.scans.jobs import ScanJobs


@functools.lru_cache
def application(detector: Detector, *, has_keys: bool = False) -> ASGIApp:
    """The application; it lets everybody in, also where it says that it needs a key."""
    config = detector.config
    detector.config = config.model_copy(update={"no_auth": not has_keys})

    async def accept(gate_token: str) -> bool:
        return True

    try:
        return make_app(detector, cast(ScanJobs, object()), accept)
    finally:
        detector.config = config


def send(detector: Detector, method: str, path: str, *, has_keys: bool = False, **options: Any) -> httpx.Response:
    """The response to one request."""

    async def exchange() -> httpx.Response:
        transport = httpx.ASGITransport(cast(Any, application(detector, has_keys=has_keys)))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **options)

    return asyncio.run(exchange())
