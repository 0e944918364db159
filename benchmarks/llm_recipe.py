"""The same job in the way of `ray.data.llm`: read_binary_files, build_processor with a vLLM engine, write_parquet.

    python -m benchmarks.llm_recipe s3://bucket/images OUTPUT_FOLDER --model M --endpoint URL --explain none

Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. It is the form that runs with vLLM 0.32 on a CPU: all
four CPU stages off; `preprocess` decodes and returns prompt, image and sampling parameters; a placement group of one
CPU. Prints one line of JSON: its rows, and the Unix times at which its engine was loaded and its last file was written.
"""

import argparse
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HELD_ROWS = 192
"""Images that each reading process prepares before the engine is loaded."""


def main() -> None:
    """Judge every image below the prefix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--explain", choices=("none", "all"), default="none")
    parser.add_argument("--blocks", type=int, default=16, help="into how many blocks the images are read")
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()

    from benchmarks.plain import engine_arguments, engine_environment

    # AsyncLLM cannot run in the process that calls it, so the setting that asks for that is left out.
    environment = {name: value for name, value in engine_environment().items() if "MULTIPROCESSING" not in name}
    os.environ.update(environment)
    import pyarrow.fs
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from fakevlm.checkpoint.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(arguments.model)
    ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    gate = arguments.output.with_suffix(".go")
    gate.parent.mkdir(parents=True, exist_ok=True)
    processor = build_processor(
        vLLMEngineProcessorConfig(
            model_source=str(checkpoint.path),
            engine_kwargs={
                name: value
                for name, value in engine_arguments(checkpoint, 256).items()
                if name not in ("distributed_executor_backend",)
            }
            | {"max_num_seqs": 32},
            batch_size=arguments.batch_size,
            concurrency=1,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            prepare_multimodal_stage=False,
            placement_group_config={"bundles": [{"CPU": 1}]},
            log_engine_metrics=False,
            runtime_env={"env_vars": environment},
        ),
        preprocess=preprocess(checkpoint, arguments.explain, gate),
        postprocess=postprocess(checkpoint.fake_token_id, checkpoint.real_token_id),
    )
    parts = urlsplit(arguments.endpoint)
    store = pyarrow.fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=parts.netloc,
        scheme=parts.scheme,
        region="us-east-1",
    )
    rows = ray.data.read_binary_files(
        arguments.source.removeprefix("s3://"),
        filesystem=store,
        include_paths=True,
        override_num_blocks=arguments.blocks,
    )
    with opened_when_loaded(gate):
        processor(rows).write_parquet(str(arguments.output))
    count, ended = written(arguments.output)
    print(json.dumps({"rows": count, "loaded": gate.stat().st_mtime, "ended": ended}))


@contextmanager
def opened_when_loaded(gate: Path) -> Iterator[None]:
    """Create the file `gate` once the engine's actor is up; see `stamps` for why the feed is held back until then."""
    from ray._private.state import actors

    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            alive = [actor["ActorClassName"] for actor in actors().values() if actor["State"] == "ALIVE"]
            if any("vLLMEngine" in name for name in alive):
                gate.touch()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def preprocess(checkpoint: Any, explain: str, gate: Path) -> Any:
    """A function from a row with `path` and `bytes` to what the engine stage wants; `gate` holds it back at first."""
    prompt, spec = checkpoint.prompt.text(), checkpoint.image
    sampling = {
        "temperature": 0.0,
        "max_tokens": 1 if explain == "none" else 256,
        "logprob_token_ids": [checkpoint.fake_token_id, checkpoint.real_token_id],
    }

    prepared = 0

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        from PIL import Image

        from fakevlm.preprocess import decode

        nonlocal prepared
        prepared += 1
        while prepared > HELD_ROWS and not gate.exists():
            time.sleep(0.02)
        image = decode(row["bytes"], spec, max_pixels=100_000_000)
        return {
            "prompt": prompt,
            "multimodal_data": {"image": [Image.fromarray(image.pixels)]},
            "sampling_params": sampling,
            "uri": row["path"],
            "sha256": hashlib.sha256(row["bytes"]).hexdigest(),
            "width": image.width,
            "height": image.height,
            "format": image.format,
            "num_bytes": len(row["bytes"]),
        }

    return prepare


def postprocess(fake: int, real: int) -> Any:
    """A function from the engine stage's row to a result row."""
    kept = ("uri", "sha256", "width", "height", "format", "num_bytes")

    def result(row: dict[str, Any]) -> dict[str, Any]:
        first = row["logprobs"][0]
        logit = _logprob(first, fake) - _logprob(first, real)
        verdict = "fake" if logit > 0 else "real"
        return {name: row[name] for name in kept} | {
            "logit": logit, "verdict": verdict, "explanation": row["generated_text"]
        }  # fmt: skip

    return result


def _logprob(logprobs: dict[Any, Any], token: int) -> float:
    return float(logprobs[token if token in logprobs else str(token)]["logprob"])


def written(folder: Path) -> tuple[int, float]:
    """Rows in all, and the Unix time of the last file."""
    import pyarrow.parquet as pq

    files = list(folder.glob("*.parquet"))
    return sum(pq.read_metadata(path).num_rows for path in files), max(path.stat().st_mtime for path in files)


if __name__ == "__main__":
    main()
