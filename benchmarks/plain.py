"""The script that scan is measured against: one process, no Ray, nothing but the work, 256 images at a time.

    python -m benchmarks.plain s3://bucket/images s3://bucket/plain --model M --endpoint URL --explain none

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. It is written as one would for a bucket that does not
fit into memory: 256 images are fetched, 32 at once, decoded by Pillow on every core, judged by one `LLM.generate`, in
which vLLM resizes, and written as one Parquet object; then the next 256 are. `--tuned` is written not to lose: its
threads use this project's own decoder, with its compiled resizing from the first image on, and hand the engine images
that are already at its input size, and the next images are fetched meanwhile. The clock starts when the engine is
loaded and warm, and stops with the last object.

What it does not do, and a scan does for every image: notice what of a listing is no image; bound bytes, pixels, time
and memory; outlive a file that kills or hangs its decoder, an engine that dies, a store that is away; give an image
that cannot be read a row of its own; read what a file says of its origin; hash the picture; count, seal and account
for its parts, show how far it is, and go on where it was killed. The SHA-256, sizes, format, score and verdict are in
its rows as well. A single image that cannot be read ends it.
"""

import argparse
import asyncio
import hashlib
import io
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Self

CONCURRENCY = 32
"""GETs at once."""
CHUNK = 256
"""Images that are in memory together, or two of these where the next ones are fetched ahead."""


def main() -> None:
    """Judge every image below the prefix and print the times as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--model", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("--explain", choices=("none", "all"), default="none")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--ahead", choices=("nothing", "fetch", "decode"), help="done of the next chunk meanwhile")
    parser.add_argument("--max-num-seqs", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    arguments = parser.parse_args()
    ahead = arguments.ahead or ("fetch" if arguments.tuned else "nothing")

    os.environ.update(engine_environment())
    import pyarrow.parquet  # noqa: F401  here so that no import counts as work
    from PIL import Image
    from vllm import LLM, SamplingParams

    from fakevlm import resampling
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
    if arguments.tuned:
        resampling.prepare()  # after vLLM's start, which ends where llvmlite is loaded before

    times = Times()
    rows_done = tokens = 0
    decode = partial(prepared, spec=checkpoint.image) if arguments.tuned else opened
    began = time.time()
    with Bucket(arguments.endpoint) as bucket, ThreadPoolExecutor(os.cpu_count()) as pool:
        feed = Feed(bucket, bucket.keys(arguments.source), pool, decode, ahead, times)
        for number, (names, files, pictures) in enumerate(feed):
            with times.of("generate"):
                requests = [{"prompt": prompt, "multi_modal_data": {"image": picture.image}} for picture in pictures]
                outputs = engine.generate(requests, sampling, use_tqdm=False)
            with times.of("write"):
                rows = [
                    result_row(name, data, picture, output.outputs[0], checkpoint)
                    for name, data, picture, output in zip(names, files, pictures, outputs, strict=True)
                ]
                bucket.put(f"{arguments.output}/part-{number:05d}.parquet", parquet(rows)).result()
            tokens += sum(len(output.outputs[0].token_ids) for output in outputs)
            rows_done += len(rows)
    steady_s = time.time() - began
    counts = {"rows": rows_done, "began": began, "steady_s": steady_s, "tokens": tokens}
    print(json.dumps({**counts, **{f"{step}_s": seconds for step, seconds in times.seconds.items()}}))


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


class Times:
    """Seconds that the main thread spent in each step."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("fetch", "decode", "generate", "write"), 0.0)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Count the block to a step."""
        started = time.time()
        yield
        self.seconds[step] += time.time() - started


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


class Feed:
    """The chunks: names, contents and pictures of 256 images each."""

    def __init__(
        self, bucket: "Bucket", keys: list[str], pool: ThreadPoolExecutor, decode: Any, ahead: str, times: Times
    ) -> None:
        self._bucket, self._pool, self._decode, self._ahead, self._times = bucket, pool, decode, ahead, times
        self._chunks = [keys[first : first + CHUNK] for first in range(0, len(keys), CHUNK)]

    def __iter__(self) -> Iterator[tuple[list[str], list[bytes], list[Picture]]]:
        coming = self._begin(self._chunks[0]) if self._ahead != "nothing" else None
        for names, following in zip(self._chunks, [*self._chunks[1:], None], strict=True):
            with self._times.of("fetch"):
                files, decoding = (coming or self._begin(names)).result()
            coming = self._begin(following) if following and self._ahead != "nothing" else None
            with self._times.of("decode"):
                pictures = list(decoding or self._pool.map(self._decode, files))
            yield names, files, pictures

    def _begin(self, names: list[str]) -> "Future[tuple[list[bytes], Iterator[Picture] | None]]":
        """Fetch, and where it is wanted ahead begin to decode."""
        done: Future[tuple[list[bytes], Iterator[Picture] | None]] = Future()

        def fetched(files: "Future[list[bytes]]") -> None:
            try:
                data = files.result()
                done.set_result((data, self._pool.map(self._decode, data) if self._ahead == "decode" else None))
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                done.set_exception(error)

        self._bucket.get_all(names).add_done_callback(fetched)
        return done


class Bucket:
    """One client for one bucket, on an event loop of its own."""

    def __init__(self, endpoint: str | None) -> None:
        self._endpoint = endpoint
        self._name = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bucket", daemon=True)

    def __enter__(self) -> Self:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self._thread.start()
        config = AioConfig(max_pool_connections=CONCURRENCY)
        self._opening = get_session().create_client(
            "s3", endpoint_url=self._endpoint, region_name="us-east-1", config=config
        )
        self._client = self._run(self._opening.__aenter__()).result()
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._opening.__aexit__(None, None, None)).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def keys(self, source: str) -> list[str]:
        """All keys below a prefix."""
        self._name, _, prefix = source.removeprefix("s3://").partition("/")

        async def keys() -> list[str]:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=f"{prefix}/")
            return [item["Key"] async for page in pages for item in page["Contents"]]

        found: list[str] = self._run(keys()).result()
        return found

    def get_all(self, names: list[str]) -> "Future[list[bytes]]":
        """Contents of these keys."""

        async def get_all() -> list[bytes]:
            places = asyncio.Semaphore(CONCURRENCY)

            async def get(key: str) -> bytes:
                async with places:
                    answer = await self._client.get_object(Bucket=self._name, Key=key)
                    data: bytes = await answer["Body"].read()
                    return data

            return await asyncio.gather(*map(get, names))

        contents: Future[list[bytes]] = self._run(get_all())
        return contents

    def put(self, url: str, data: bytes) -> "Future[Any]":
        """Write one object."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        done: Future[Any] = self._run(self._client.put_object(Bucket=bucket, Key=key, Body=data))
        return done


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """The rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    return sink.getvalue()


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
