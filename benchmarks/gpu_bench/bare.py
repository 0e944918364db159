"""The bare engine: no Ray, no storage, decoded images kept in it for as long as it is measured.

    python -m benchmarks.gpu_bench.bare PLAN.json

It also judges the labelled images, whose log-probabilities are compared with those of other number types.
"""

import itertools
import math
import os
import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from benchmarks.gpu_bench.children import answer
from benchmarks.gpu_bench.steps import counted_since, read_counters, watch_steps
from benchmarks.process_tree import CpuClock
from benchmarks.serve_engine import EnginePlan, decode_all
from fakescan.engine.config import Device, EngineConfig
from fakescan.engine.contract import Engine, Judgement
from fakescan.engine.factory import check_installed, open_engine
from fakescan.engine.judging_options import Explain, JudgingOptions
from fakescan.engine.model import open_model
from fakescan.engine.start.start_up import StartUp
from fakescan.storage.store import Store
from fakevlm.errors import one_line

Pixels = NDArray[np.uint8]

SPARE = 128
"""Images in flight beyond those that the engine runs at once, as in a scan."""
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class BarePlan:
    """What to measure."""

    engine: dict[str, Any]
    """For `EngineConfig`."""
    device: Device
    model: str | None
    images: str
    """Folder with images."""
    count: int
    """How many of them, in turn."""
    labelled: str
    """File of `labelled.py`."""
    explain: list[Explain]
    window_s: float
    windows: int
    warm_s: float
    """Least seconds before the first window."""
    until: float
    """Unix time at which nothing new is begun."""


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Load, judge the labelled images, measure."""
    plan = BarePlan(**given)
    checkpoint = open_model(plan.model, Store())
    config: Any = TypeAdapter(EngineConfig).validate_python(plan.engine)
    check_installed(config)
    pixels, decode_ms = decode_all(EnginePlan(plan.images, plan.count, [], [], 0.0), checkpoint, MAX_PIXELS)
    options = JudgingOptions(explain="all", calibration=checkpoint.calibration)
    began = time.monotonic()
    # Its own process on a CPU as well: the same code as on a GPU.
    engine = open_engine(config, checkpoint, options, plan.device, StartUp(own_process=True))
    load_s = time.monotonic() - began
    watch_steps(engine)
    found: dict[str, Any] = {"load_s": load_s, "decode_ms": decode_ms, "max_num_seqs": engine.max_num_seqs}
    found["max_num_batched_tokens"] = batched_tokens(engine)
    found["answers"] = judge(engine, list(np.load(plan.labelled)["pixels"]), options)
    for explain in plan.explain:
        mode = options.model_copy(update={"explain": explain})
        try:
            found[explain] = windows(engine, pixels, mode, plan)
        except RuntimeError as error:  # the other mode may go on
            found[explain] = one_line(error)
    engine.close()
    return found


def batched_tokens(engine: Any) -> int | None:
    """Tokens that vLLM computes in one step at most; None for a simulated engine."""
    inner = getattr(engine, "_engine", None)
    return None if inner is None else int(inner.vllm_config.scheduler_config.max_num_batched_tokens)


def judge(engine: Engine, images: Sequence[Pixels], options: JudgingOptions) -> dict[str, list[float]]:
    """The two log-probabilities of each image; NaN where the engine refused it."""
    scored = options.model_copy(update={"explain": "none"})
    judgements = [future.result() for future in [engine.submit(image, scored) for image in images]]
    return {
        "fake": [judgement.logprob_fake for judgement in judgements],
        "real": [judgement.logprob_real for judgement in judgements],
    }


def windows(engine: Engine, images: Sequence[Pixels], options: JudgingOptions, plan: BarePlan) -> list[dict[str, Any]]:
    """Windows one after the other, while as many images as a scan has in flight are kept in the engine.

    The first begins when every image of the first filling has been answered: until then they are all equally old, and
    come and go together.
    """
    in_flight = min(math.ceil(1.1 * engine.max_num_seqs) + SPARE, 2 * engine.max_num_seqs)
    answered: queue.SimpleQueue[Future[Judgement]] = queue.SimpleQueue()
    turn = itertools.cycle(images)
    clock = CpuClock(os.getpid())
    outstanding: set[Future[Judgement]] = set()
    done = tokens = 0

    def submit() -> None:
        future = engine.submit(next(turn), options)
        outstanding.add(future)
        future.add_done_callback(answered.put)

    def go_on(until: float, least: int = 0) -> None:
        nonlocal done, tokens
        first = done
        while time.time() < min(until, plan.until) or (done - first < least and time.time() < plan.until):
            future = answered.get()
            outstanding.discard(future)
            judgement = future.result()
            if judgement.error is not None:
                raise RuntimeError(f"the engine refused an image: {judgement.error}")
            done, tokens = done + 1, tokens + judgement.completion_tokens
            submit()

    for _ in range(in_flight):
        submit()
    go_on(time.time() + plan.warm_s, in_flight)
    found = []
    for _ in range(plan.windows):
        if time.time() >= plan.until:
            break
        before = read_counters(engine.stats)
        images_before, tokens_before, cpu_s, began = done, tokens, clock.seconds(), time.time()
        go_on(began + plan.window_s)
        ended = time.time()
        found.append(
            {
                "began": began,
                "ended": ended,
                "images": done - images_before,
                "tokens": tokens - tokens_before,
                "cores": (clock.seconds() - cpu_s) / (ended - began),
                "steps": counted_since(before, read_counters(engine.stats)),
            }
        )
    for future in list(outstanding):
        future.cancel()
    if not found:
        raise RuntimeError("no time was left for it: see --minutes")
    return found


if __name__ == "__main__":
    answer(measure)
