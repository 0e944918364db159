"""CPU time of a GET: the project's own way to an S3 object, and other clients, on the same objects in turn.

    python -m benchmarks.gets
    pip install --target FOLDER obstore && PYTHONPATH=$PYTHONPATH:FOLDER python -m benchmarks.gets

A real S3 server on this machine, whose CPU time does not count, and the images of `benchmarks/scan.py`. 32 requests at
once; this process's CPU time, whatever threads a client starts. `obstore` is no dependency: where it is not
installed, it is left out.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.images import image_set
from benchmarks.report import ROOT
from fakescan.storage.store import make_filesystem
from fakescan.storage.transport.base import Request
from fakescan.storage.transport.s3 import S3Transport
from tests.storage_server import SeaweedServer

CONCURRENCY = 32
BUCKET = "bench"

Get = Callable[[str], Awaitable[bytes]]


def main() -> None:
    """Serve the images, read them with each client in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    settings = parser.parse_args()
    files = image_set(ROOT / ".cache" / "benchmarks", 2048).files[: settings.images]
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder, SeaweedServer(Path(folder)) as server:
        store, _ = server.store.filesystem(f"s3://{BUCKET}")
        store.mkdir(BUCKET)
        store.put([str(file) for file in files], [f"{BUCKET}/{file.name}" for file in files])
        sizes = {file.name: file.stat().st_size for file in files}
        asyncio.run(compare(server, sizes, settings.rounds))


async def compare(server: SeaweedServer, sizes: dict[str, int], rounds: int) -> None:
    """CPU-ms and rate of every client that is installed: medians of the rounds."""
    taken: dict[str, list[tuple[float, float]]] = {}
    async with AsyncExitStack() as stack:
        clients: dict[str, Get] = {}
        for name, client in CLIENTS.items():
            try:
                clients[name] = await stack.enter_async_context(client(server))
            except ImportError as error:
                print(f"not tried: {name}: {error}")
        for turn in range(rounds + 1):
            for name in list(clients)[turn % len(clients) :] + list(clients)[: turn % len(clients)]:
                began, cpu = time.monotonic(), time.process_time()
                await _all(clients[name], sizes)
                spent = time.process_time() - cpu, time.monotonic() - began
                if turn:  # the first opens connections
                    taken.setdefault(name, []).append(spent)
    print("| client | CPU-ms per GET | GET/s |\n|---|---|---|")
    for name, pairs in taken.items():
        cpu, wall = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"| {name} | {1e3 * cpu / len(sizes):.2f} | {len(sizes) / wall:.0f} |")


async def _all(get: Get, sizes: dict[str, int]) -> None:
    names = iter(sizes)

    async def work() -> None:
        for name in names:
            data = await get(name)
            assert len(data) == sizes[name], name

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())


@asynccontextmanager
async def _ours(server: SeaweedServer) -> AsyncIterator[Get]:
    transport = S3Transport(server.store, max_bytes=2**26, connections=CONCURRENCY, timeout_s=60.0)

    async def get(name: str) -> bytes:
        return (await transport.read(Request(f"s3://{BUCKET}/{name}"))).data

    yield get
    await transport.close()


@asynccontextmanager
async def _s3fs(server: SeaweedServer) -> AsyncIterator[Get]:
    filesystem = make_filesystem(server.store, "s3", attempts=1, asynchronous=True)
    filesystem.config_kwargs["max_pool_connections"] = CONCURRENCY
    client = await filesystem.set_session()

    async def get(name: str) -> bytes:
        data: bytes = await filesystem._cat_file(f"{BUCKET}/{name}")
        return data

    yield get
    await client.close()


@asynccontextmanager
async def _aiobotocore(server: SeaweedServer) -> AsyncIterator[Get]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    session, config = get_session(), AioConfig(max_pool_connections=CONCURRENCY)
    async with session.create_client("s3", config=config, **_arguments(server)) as client:

        async def get(name: str) -> bytes:
            answer = await client.get_object(Bucket=BUCKET, Key=name)
            data: bytes = await answer["Body"].read()
            return data

        yield get


@asynccontextmanager
async def _aiohttp(server: SeaweedServer) -> AsyncIterator[Get]:
    import aiohttp
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    auth = S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", "us-east-1")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def get(name: str) -> bytes:
            request = AWSRequest("GET", f"{server.endpoint_url}/{BUCKET}/{name}")
            auth.add_auth(request)
            async with session.get(request.url, headers=dict(request.headers)) as answer:
                answer.raise_for_status()
                return await answer.read()

        yield get


@asynccontextmanager
async def _obstore(server: SeaweedServer) -> AsyncIterator[Get]:
    import obstore

    store: Any = obstore.store.S3Store(
        BUCKET,
        endpoint=server.endpoint_url,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    async def get(name: str) -> bytes:
        answer = await obstore.get_async(store, name)
        return bytes(await answer.bytes_async())

    yield get


def _arguments(server: SeaweedServer) -> dict[str, str]:
    return {
        "endpoint_url": server.endpoint_url,
        "region_name": "us-east-1",
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
    }


CLIENTS: dict[str, Callable[[SeaweedServer], Any]] = {
    "this project (`S3Transport`, on aiobotocore)": _ours,
    "s3fs": _s3fs,
    "aiobotocore": _aiobotocore,
    "aiohttp, signed by botocore": _aiohttp,
    "obstore": _obstore,
}

if __name__ == "__main__":
    main()
