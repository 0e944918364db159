"""The bare engine: what the server is compared with, in a process of its own:

    python -m benchmarks.serve_engine PLAN.json

The same engine with the same settings as a replica's, on the same images; they are decoded before, and their decoding
is measured apart. For each setting as many images as there are requests in flight at the server are kept in the engine.
Prints one line of JSON: a list with a result for each setting.
"""

import itertools
import json
import queue
import statistics
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.contract import Engine, Judgement
from fakescan.engine.factory import open_engine
from fakescan.engine.judging_options import Explain, JudgingOptions, chosen_calibration
from fakescan.engine.model import open_model
from fakescan.serve.config import ServeConfig
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.preprocess import decode


@dataclass(frozen=True)
class EnginePlan:
    """What to measure."""

    folder: str
    """With the images."""
    images: int
    """How many of them, in turn."""
    explain: list[Explain]
    concurrency: list[int]
    """Images in the engine; each is measured with each of `explain`."""
    seconds: float
    """Length of each measured window."""
    warm_s: float = 3.0
    """Seconds before each window."""


def main(plan: EnginePlan) -> list[dict[str, Any]]:
    """Decode, load, measure."""
    config = ServeConfig(no_auth=True)
    checkpoint = open_model(config.model, config.model_store)
    calibration = chosen_calibration(checkpoint, config.calibration, config.model_store)
    engine = open_engine(config.engine, checkpoint, JudgingOptions(explain="all", calibration=calibration), "cpu")
    images, decode_ms = decode_all(plan, checkpoint, config.limits.max_pixels)
    found = []
    for explain, concurrency in itertools.product(plan.explain, plan.concurrency):
        options = JudgingOptions(explain=explain, calibration=calibration, max_new_tokens=config.max_new_tokens)
        measured = measure(engine, images, options, concurrency, plan)
        found.append({"explain": explain, "concurrency": concurrency, "decode_ms": decode_ms, **measured})
    engine.close()
    return found


def decode_all(plan: EnginePlan, checkpoint: Checkpoint, max_pixels: int) -> tuple[list[NDArray[np.uint8]], float]:
    """The images at the model's size, and the CPU milliseconds that one took on average."""
    files = sorted(path for path in Path(plan.folder).iterdir() if path.suffix != ".json")[: plan.images]
    data = [file.read_bytes() for file in files]
    decode(data[0], checkpoint.image, max_pixels=max_pixels)
    began = time.thread_time()
    pixels = [decode(one, checkpoint.image, max_pixels=max_pixels).pixels for one in data]
    return pixels, 1e3 * (time.thread_time() - began) / len(files)


def measure(
    engine: Engine, images: list[NDArray[np.uint8]], options: JudgingOptions, concurrency: int, plan: EnginePlan
) -> dict[str, Any]:
    """Images a second, milliseconds from submitting to the judgement, and CPU milliseconds per image."""
    answered: queue.SimpleQueue[tuple[float, Future[Judgement]]] = queue.SimpleQueue()
    turn = itertools.cycle(images)
    taken: list[float] = []

    def submit() -> None:
        started = time.perf_counter()
        engine.submit(next(turn), options).add_done_callback(lambda future: answered.put((started, future)))

    def go_on(seconds: float) -> float:
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            started, future = answered.get()
            taken.append(time.perf_counter() - started)
            assert future.result().error is None, future.result().error
            submit()
        return now - began

    for _ in range(concurrency):
        submit()
    go_on(plan.warm_s)
    taken.clear()
    steps, running, busy_s = engine.stats.steps, engine.stats.running, engine.stats.busy_s
    cpu_s = time.process_time()
    seconds = go_on(plan.seconds)
    cpu_s = time.process_time() - cpu_s
    steps, running, busy_s = engine.stats.steps - steps, engine.stats.running - running, engine.stats.busy_s - busy_s
    for _ in range(concurrency):
        answered.get()
    return {
        "requests_s": len(taken) / seconds,
        "cpu_ms": 1e3 * cpu_s / len(taken),
        "p50_ms": 1e3 * statistics.median(taken),
        "p99_ms": 1e3 * float(np.percentile(taken, 99)),
        "running": running / steps,
        "busy": busy_s / seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(EnginePlan(**json.loads(sys.argv[1])))))
