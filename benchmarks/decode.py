"""CPU time per image of everything between the bytes of a file and the engine, and of every way to make it less.

    python -m benchmarks.decode                              # all of it, about five minutes
    python -m benchmarks.decode --only steps --images 60     # a look, in one
    python -m benchmarks.decode --edge 336                   # at the input size of FakeVLM
    python -m benchmarks.decode --only sizes                 # 0.3 to 48 megapixels, exact and fast
    python -m benchmarks.decode --only scores --pairs 200    # what decoding fast does to the built-in model's scores

Parts: steps, levers, sizes, pixels (to the engine's tensor), scores. Fetching is not in it. One thread; each figure is
the mean over the images of the median of the rounds, so that what else the machine does hardly matters. Prints tables
in Markdown. No floors: `benchmarks/scan.py` has them.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decode_bench.clock import cpu_ms
from benchmarks.decode_bench.decoders import installed
from benchmarks.decode_bench.levers import levers
from benchmarks.decode_bench.pixels import engine_pixels
from benchmarks.decode_bench.scores import compare_scores
from benchmarks.decode_bench.sizes import by_size
from benchmarks.decode_bench.steps import serialised, shard_table, steps
from benchmarks.images import image_set
from benchmarks.report import ROOT
from fakevlm import resampling
from fakevlm.image_file.signature import identify
from fakevlm.preprocess import ImageSpec

PARTS = ("steps", "levers", "sizes", "pixels", "scores")
SHARD_ROWS = 64


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="steps,levers,sizes,pixels", help="parts, such as steps,levers")
    parser.add_argument("--images", type=int, default=150, help="images of the set that scan.py has")
    parser.add_argument("--edge", type=int, default=112, help="pixels of the model's input")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=200, help="scores: photographs, each as it is and forged")
    settings = parser.parse_args()
    spec = ImageSpec(shortest_edge=settings.edge, crop=(settings.edge, settings.edge))
    only = settings.only.split(",")
    resampling.prepare()
    if unknown := set(only) - set(PARTS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    if "steps" in only:
        show_steps(_files(settings.images), spec, settings.rounds)
    if "levers" in only:
        show_levers(_files(settings.images), spec, settings.rounds)
    if "sizes" in only:
        _table(("megapixels", "exact", "fast", "cores for 120 images/s, exact", "fast"), by_size(spec, settings.rounds))
    if "pixels" in only:
        _table(("to the engine's tensor", "CPU-ms", "bytes", "equal"), engine_pixels(spec, settings.rounds))
    if "scores" in only:
        _table(("images", "figure", "value"), compare_scores(settings.pairs))


def _files(count: int) -> list[Path]:
    """A share of the images of `benchmarks/scan.py`, drawn at random, with its share of large ones."""
    files = list(image_set(ROOT / ".cache" / "benchmarks", 2048).files)
    return random.Random(0).sample(files, min(count, len(files)))


def show_steps(files: Sequence[Path], spec: ImageSpec, rounds: int) -> None:
    """CPU-ms of each step, by format and for all."""
    taken: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        data = file.read_bytes()
        for name, cost in cpu_ms(dict(steps(data, spec)), rounds).items():
            taken[name][identify(data)].append(cost)
    kinds = sorted({kind for costs in taken.values() for kind in costs})
    rows = []
    for name, costs in taken.items():
        every = [cost for kind in kinds for cost in costs[kind]]
        rows.append((name, *(f"{np.mean(values):.2f}" for values in (every, *(costs[kind] for kind in kinds)))))
    block = np.random.default_rng(0).integers(0, 256, (SHARD_ROWS, spec.height, spec.width, 3), dtype=np.uint8)
    table = shard_table(block)
    shard = cpu_ms(
        {
            "a shard's table": lambda: shard_table(block),
            "its bytes": lambda: serialised(table),
            "pixels copied to the shard's block": lambda: np.copyto(np.empty_like(block), block),
        },
        4 * rounds,
    )
    rows += [(name, f"{cost / SHARD_ROWS:.3f}", *("" for _ in kinds)) for name, cost in shard.items()]
    _table(("step, CPU-ms per image", f"all {len(files)}", *kinds), rows)


def show_levers(files: Sequence[Path], spec: ImageSpec, rounds: int) -> None:
    """CPU-ms of each lever beside the first of its step on the same images, and how many results are equal."""
    decoders, missing = installed()
    costs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    equal: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for file in files:
        data = file.read_bytes()
        tried = list(levers(data, identify(data), spec, decoders))
        taken = cpu_ms({(one.step, one.name): one.work for one in tried}, rounds)
        first: dict[str, Any] = {}
        for one in tried:
            key = one.step, one.name
            base, result = first.setdefault(one.step, (taken[key], one.result(one.work())))
            costs[key].append((taken[key], base))
            equal[key].append(bool(np.array_equal(result, one.result(one.work()))))
    rows = []
    for key, pairs in costs.items():
        cost, base = (float(np.mean(values)) for values in zip(*pairs, strict=True))
        share = f"{sum(equal[key])} of {len(equal[key])}"
        rows.append((*key, f"{cost:.3f}", f"{base:.3f}", f"{cost / base:.2f}", share))
    _table(("step", "lever", "CPU-ms", "of", "ratio", "equal"), rows)
    for line in missing:
        print(f"not tried: {line}")


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    print("\n| " + " | ".join(header) + " |\n|" + "---|" * len(header), flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


if __name__ == "__main__":
    main()
