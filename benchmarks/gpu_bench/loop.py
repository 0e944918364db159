"""The plain loop: read some files, decode them on every core, one `LLM.generate`, and so on. No Ray, no overlap.

    python -m benchmarks.gpu_bench.loop PLAN.json

vLLM has the settings that the scan's engine has, and gets images that are already at the model's input size.
"""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_bench.children import answer
from benchmarks.gpu_bench.steps import counted_since, read_counters, watched_manager
from benchmarks.plain import prepared
from benchmarks.process_tree import CpuClock
from fakescan.engine.config import Device, VllmConfig
from fakescan.engine.judging_options import Explain, JudgingOptions
from fakescan.engine.model import open_model
from fakescan.engine.vllm_setup import engine_arguments, prepare_environment
from fakescan.storage.store import Store

_WARM = 64
"""Images before anything is measured."""


@dataclass(frozen=True)
class LoopPlan:
    """What to measure."""

    engine: dict[str, Any]
    device: Device
    model: str | None
    images: str
    chunks: dict[Explain, int]
    """Images in one call of `generate`, for each mode that is measured."""
    windows: int
    """Calls for each mode."""
    until: float
    """Unix time at which nothing new is begun."""


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Load, warm up, measure call by call."""
    plan = LoopPlan(**given)
    config = VllmConfig.model_validate(plan.engine)
    checkpoint = open_model(plan.model, Store())
    options = JudgingOptions(explain="all", calibration=checkpoint.calibration)
    prepare_environment(config, checkpoint, plan.device)
    if plan.device == "cpu":
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM, SamplingParams

    began = time.monotonic()
    llm = LLM(**engine_arguments(config, checkpoint, options, plan.device))
    found: dict[str, Any] = {"load_s": time.monotonic() - began}
    scheduler = llm.llm_engine.vllm_config.scheduler_config
    found |= {
        "max_num_seqs": scheduler.max_num_seqs,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
    }
    stats = watched_manager(llm.llm_engine)
    files = sorted(path for path in Path(plan.images).iterdir() if path.suffix != ".json")
    clock = CpuClock(os.getpid())
    prompt = checkpoint.prompt.text()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for explain, chunk in plan.chunks.items():
            sampling = SamplingParams(
                temperature=0.0,
                max_tokens=1 if explain == "none" else options.max_new_tokens,
                logprob_token_ids=[checkpoint.fake_token_id, checkpoint.real_token_id],
            )
            turn = itertools.cycle(files)
            windows: list[dict[str, Any]] = []
            for number in range(1 + plan.windows):
                if time.time() >= plan.until:
                    break
                count = chunk if number else min(chunk, _WARM)
                steps = {} if stats is None else read_counters(stats)
                cpu_s, started = clock.seconds(), time.time()
                data = [path.read_bytes() for path in itertools.islice(turn, count)]
                pictures = list(pool.map(partial(prepared, spec=checkpoint.image), data))
                ready = time.time()
                requests: list[Any] = [
                    {"prompt": prompt, "multi_modal_data": {"image": picture.image}} for picture in pictures
                ]
                outputs = llm.generate(requests, sampling, use_tqdm=False)
                ended = time.time()
                after = {} if stats is None else read_counters(stats)
                window = {
                    "began": started,
                    "ended": ended,
                    "generate_s": ended - ready,
                    "images": count,
                    "tokens": sum(len(output.outputs[0].token_ids) for output in outputs),
                    "cores": (clock.seconds() - cpu_s) / (ended - started),
                    "steps": counted_since(steps, after),
                }
                if number:
                    windows.append(window)
            if not windows:
                raise RuntimeError("no time was left for it: see --minutes")
            found[explain] = windows
    return found


if __name__ == "__main__":
    answer(measure)
