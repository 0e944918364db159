"""The plain script that scan is measured against: one process, no Ray; GET, decode, one LLM.generate, one Parquet file.

    python -m benchmarks.plain s3://bucket/images s3://bucket/plain.parquet --model M --endpoint URL --explain none

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. It is written as one would for a folder that fits
into memory: GETs are asynchronous, Pillow decodes on every core, vLLM resizes. `--tuned` is written not to lose: its
threads use this project's own decoder, and hand the engine images that are already at its input size. Its clock starts
when the engine is loaded and warm.
"""

import argparse
import asyncio
import hashlib
import io
import itertools
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

CONCURRENCY = 32


def main() -> None:
    """Judge every image below the prefix and print the times as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--model", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("--explain", choices=("none", "all"), default="none")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--max-num-seqs", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    arguments = parser.parse_args()

    os.environ.update(engine_environment())
    import aiobotocore.session  # noqa: F401  here so that no import counts as work
    import pyarrow.parquet  # noqa: F401
    from PIL import Image
    from vllm import LLM, SamplingParams

    from fakevlm.checkpoint.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(arguments.model)
    engine = LLM(
        str(checkpoint.path),
        max_num_seqs=arguments.max_num_seqs,
        **engine_arguments(checkpoint, arguments.max_new_tokens),
    )
    sampling = SamplingParams(
        temperature=0.0,
        max_tokens=1 if arguments.explain == "none" else arguments.max_new_tokens,
        logprob_token_ids=[checkpoint.fake_token_id, checkpoint.real_token_id],
    )
    prompt = checkpoint.prompt.text()
    blank = Image.new("RGB", (checkpoint.image.width, checkpoint.image.height))
    engine.generate([{"prompt": prompt, "multi_modal_data": {"image": blank}}] * 2, sampling, use_tqdm=False)

    marks = [time.time()]
    names, files = asyncio.run(fetch_all(arguments.source, arguments.endpoint))
    marks.append(time.time())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = list(pool.map(partial(prepared, spec=checkpoint.image) if arguments.tuned else opened, files))
    marks.append(time.time())
    requests = [{"prompt": prompt, "multi_modal_data": {"image": picture.image}} for picture in decoded]
    outputs = engine.generate(requests, sampling, use_tqdm=False)
    marks.append(time.time())
    rows = [
        result_row(name, data, picture, output.outputs[0], checkpoint)
        for name, data, picture, output in zip(names, files, decoded, outputs, strict=True)
    ]
    asyncio.run(put_parquet(arguments.output, arguments.endpoint, rows))
    marks.append(time.time())
    fetch, decoding, generate, write = (after - before for before, after in itertools.pairwise(marks))
    print(
        json.dumps(
            {
                "rows": len(rows),
                "began": marks[0],
                "steady_s": marks[-1] - marks[0],
                "fetch_s": fetch,
                "decode_s": decoding,
                "generate_s": generate,
                "write_s": write,
                "tokens": sum(len(output.outputs[0].token_ids) for output in outputs),
            }
        )
    )


def engine_environment() -> dict[str, str]:
    """What makes vLLM's CPU engine run in this process and use every core."""
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(os.cpu_count() or 1),
    }


def engine_arguments(checkpoint: Any, max_new_tokens: int) -> dict[str, Any]:
    """The settings that scan's own engine has by default, but for the number of sequences."""
    return {
        "dtype": checkpoint.dtype,
        "max_model_len": checkpoint.image_tokens + 64 + max_new_tokens,
        "enforce_eager": True,
        "limit_mm_per_prompt": {"image": 1},
        "mm_processor_cache_gb": 0,
        "enable_prefix_caching": False,
        "generation_config": "vllm",
        "seed": 0,
        "disable_log_stats": True,
        "distributed_executor_backend": "uni",
    }


class Picture(NamedTuple):
    """A decoded image for vLLM, and what it was."""

    image: Any
    """Of Pillow, mode RGB."""
    width: int
    height: int
    format: str | None


def opened(data: bytes) -> Picture:
    """An image in full size."""
    from PIL import Image, ImageOps

    image = Image.open(io.BytesIO(data))
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return Picture(upright, upright.width, upright.height, image.format)


def prepared(data: bytes, spec: Any) -> Picture:
    """An image at the engine's input size."""
    from PIL import Image

    from fakevlm.preprocess import decode

    image = decode(data, spec, max_pixels=100_000_000)
    return Picture(Image.fromarray(image.pixels), image.width, image.height, image.format)


async def fetch_all(source: str, endpoint: str | None) -> tuple[list[str], list[bytes]]:
    """Names and contents of all objects below a prefix."""
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    async with _client(endpoint) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [item["Key"] async for page in pages for item in page["Contents"]]
        places = asyncio.Semaphore(CONCURRENCY)

        async def get(key: str) -> bytes:
            async with places:
                answer = await client.get_object(Bucket=bucket, Key=key)
                data: bytes = await answer["Body"].read()
                return data

        return keys, await asyncio.gather(*map(get, keys))


async def put_parquet(url: str, endpoint: str | None, rows: list[dict[str, Any]]) -> None:
    """Write the rows as one object."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    async with _client(endpoint) as client:
        await client.put_object(Bucket=bucket, Key=key, Body=sink.getvalue())


def _client(endpoint: str | None) -> Any:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(max_pool_connections=CONCURRENCY)
    return get_session().create_client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)


def result_row(name: str, data: bytes, picture: Picture, output: Any, checkpoint: Any) -> dict[str, Any]:
    """One row of the result, from vLLM's output for an image."""
    first = output.logprobs[0]
    logit = first[checkpoint.fake_token_id].logprob - first[checkpoint.real_token_id].logprob
    return {
        "uri": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "num_bytes": len(data),
        "verdict": "fake" if logit > 0 else "real",
        "score": 1 / (1 + math.exp(-logit)),
        "logit": logit,
        "explanation": output.text if len(output.token_ids) > 1 else None,
    }


if __name__ == "__main__":
    main()
