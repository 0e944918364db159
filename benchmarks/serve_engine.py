"""The bare engine: what the server is compared with, in a process of its own:

    python -m benchmarks.serve_engine PLAN.json

The same engine with the same settings as a replica's, on the same images; they are decoded before, and their decoding
is measured apart. For each setting as many images as there are requests in flight at the server are kept in the engine.
With `beside`, a process decodes images meanwhile, without a pause: what either takes then, on a machine that is as busy
as the server's. Prints one line of JSON: a list with a result for each setting.
"""

import itertools
import json
import multiprocessing
import queue
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
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
from fakevlm.preprocess import ImageSpec, decode


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
    beside: bool = False
    """Whether another process decodes images meanwhile."""


def main(plan: EnginePlan) -> list[dict[str, Any]]:
    """Decode, load, measure."""
    config = ServeConfig(no_auth=True)
    checkpoint = open_model(config.model, config.model_store)
    calibration = chosen_calibration(checkpoint, config.calibration, config.model_store)
    engine = open_engine(config.engine, checkpoint, JudgingOptions(explain="all", calibration=calibration), "cpu")
    images, decode_ms = decode_all(plan, checkpoint, config.limits.max_pixels)
    found = []
    with decoding_beside(plan, checkpoint, config.limits.max_pixels) as beside:
        for explain, concurrency in itertools.product(plan.explain, plan.concurrency):
            options = JudgingOptions(explain=explain, calibration=calibration, max_new_tokens=config.max_new_tokens)
            measured = measure(engine, images, options, concurrency, plan)
            found.append({"explain": explain, "concurrency": concurrency, "decode_ms": decode_ms, **measured})
    engine.close()
    return [{**one, "decode_ms": beside[0]} for one in found] if beside else found


@contextmanager
def decoding_beside(plan: EnginePlan, checkpoint: Checkpoint, max_pixels: int) -> Iterator[list[float]]:
    """Has another process decode while the block runs, if the plan says so; then the list has what an image took it."""
    took: list[float] = []
    if not plan.beside:
        yield took
        return
    spawn = multiprocessing.get_context("spawn")
    stop, results = spawn.Event(), spawn.SimpleQueue()
    process = spawn.Process(target=decode_until, args=(plan, checkpoint.image, max_pixels, stop, results))
    process.start()
    try:
        results.get()  # it has begun
        yield took
    finally:
        stop.set()
        took.append(results.get())
        process.join()


def decode_until(plan: EnginePlan, spec: ImageSpec, max_pixels: int, stop: Any, results: Any) -> None:
    """Decodes the images in turn until it is told to stop; puts None in `results` as it begins, and CPU-ms an image."""
    data = [file.read_bytes() for file in files_of(plan)]
    decode(data[0], spec, max_pixels=max_pixels)
    results.put(None)
    began, images = time.thread_time(), 0
    while images < len(data) or not stop.is_set():
        decode(data[images % len(data)], spec, max_pixels=max_pixels)
        images += 1
    results.put(1e3 * (time.thread_time() - began) / images)


def files_of(plan: EnginePlan) -> list[Path]:
    """The images."""
    return sorted(path for path in Path(plan.folder).iterdir() if path.suffix != ".json")[: plan.images]


def decode_all(plan: EnginePlan, checkpoint: Checkpoint, max_pixels: int) -> tuple[list[NDArray[np.uint8]], float]:
    """The images at the model's size, and the CPU milliseconds that one took on average."""
    data = [file.read_bytes() for file in files_of(plan)]
    decode(data[0], checkpoint.image, max_pixels=max_pixels)
    began = time.thread_time()
    pixels = [decode(one, checkpoint.image, max_pixels=max_pixels).pixels for one in data]
    return pixels, 1e3 * (time.thread_time() - began) / len(data)


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
