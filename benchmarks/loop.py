"""The hand-written loop that the feed is measured against: asyncio, Pillow and Parquet in one process, with no engine.

    python -m benchmarks.loop s3://bucket/images s3://bucket/loop --endpoint URL --size 84

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Per image it does what scan does besides judging:
GET, sha256, decode, turn, resize, crop; and per 64 images one Parquet object with the same columns. Listing, opening
the client and imports are left out of its CPU time.
"""

import argparse
import asyncio
import hashlib
import io
import json
import time
import zlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from PIL import Image, ImageOps

CONCURRENCY = 32


def main() -> None:
    """Process every image below the prefix and print the CPU time as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--endpoint")
    parser.add_argument("--size", type=int, required=True, help="edge of the model's square input in pixels")
    parser.add_argument("--part-rows", type=int, default=64)
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(run(**vars(arguments)))))


async def run(source: str, output: str, endpoint: str | None, size: int, part_rows: int) -> dict[str, float]:
    """List, then process; the clocks run from the first GET to the last PUT."""
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    target, _, folder = output.removeprefix("s3://").partition("/")
    config = AioConfig(max_pool_connections=CONCURRENCY)
    session = get_session()
    async with session.create_client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [item["Key"] async for page in pages for item in page["Contents"]]
        await client.put_object(Bucket=target, Key=f"{folder}/warm", Body=b"")
        began, cpu = time.time(), time.process_time()
        places = asyncio.Semaphore(CONCURRENCY)

        async def one(number: int, key: str) -> dict[str, Any]:
            async with places:
                answer = await client.get_object(Bucket=bucket, Key=key)
                data = await answer["Body"].read()
            return row(number, f"s3://{bucket}/{key}", data, size)

        for first in range(0, len(keys), part_rows):
            numbered = enumerate(keys[first : first + part_rows], first)
            rows = await asyncio.gather(*(one(number, key) for number, key in numbered))
            sink = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
            name = f"{folder}/part-{first // part_rows:08d}.parquet"
            await client.put_object(Bucket=target, Key=name, Body=sink.getvalue())
        return {"rows": len(keys), "seconds": time.time() - began, "cpu_s": time.process_time() - cpu}


def row(number: int, uri: str, data: bytes, size: int) -> dict[str, Any]:
    """One result row with an invented score."""
    file = Image.open(io.BytesIO(data))
    image = ImageOps.exif_transpose(file).convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(size * width / short), int(size * height / short)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    logit = (zlib.crc32(pixels[::4, ::4].tobytes()) % 8001) / 1000.0 - 4.0
    return {
        "row_id": number,
        "uri": uri,
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": width,
        "height": height,
        "format": file.format,
        "num_bytes": len(data),
        "verdict": "fake" if logit > 0 else "real",
        "score": float(1 / (1 + np.exp(-logit))),
        "logit": logit,
        "off_script": 0.0,
        "explanation": None,
        "error_code": None,
        "error_message": None,
        "model": "none",
        "run_id": "loop",
        "scanned_at": datetime.now(UTC),
    }


if __name__ == "__main__":
    main()
