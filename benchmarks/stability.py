"""What a stability strip costs: prefills by count, the engine's time, and CPU time of making variants.

    python benchmarks/stability.py                                # a minute; exits with 1 above a ceiling
    python benchmarks/stability.py --engine vllm --images 256     # the built-in model on this machine's CPUs

The threshold is such that 4 % of the images are flagged. Images are noise over gradients, saved as JPEG.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakescan.cluster import ray_session
from fakescan.run.folder import RunFolder
from fakescan.scan.call import scan
from fakescan.scan.execution import ScanOutcome
from fakescan.scan.stability.variants import CONDITIONS, MakeVariants
from fakescan.storage.store import Store
from fakevlm.preprocess import ImageSpec, decode

FLAGGED = 0.04
MAX_PREFILLS = 5
"""Ceiling of prefills for an image that is looked at again."""
MAX_TIME = 1.30
"""Ceiling of the engine's time, over that without a strip."""
SPEC = ImageSpec(shortest_edge=336, crop=(336, 336))
SHARD_ROWS = 16
SIZES = ((640, 480), (1280, 960), (4000, 3000))


def photo(size: tuple[int, int], seed: int) -> bytes:
    """A JPEG with something to see at every scale."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    levels = np.asarray(small).astype(np.int16) + rng.integers(-12, 13, (size[1], size[0], 3), dtype=np.int16)
    sink = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def cpu_ms(size: tuple[int, int], rounds: int) -> dict[str, float]:
    """CPU time of decoding an image once, and of making its variants, in milliseconds."""
    data, make = photo(size, 0), MakeVariants(SPEC, 10**8)
    times = {"decode": 0.0, "variants": 0.0}
    for _ in range(rounds):
        started = time.process_time()
        decode(data, SPEC, max_pixels=10**8)
        between = time.process_time()
        make((data, CONDITIONS))
        times["decode"] += between - started
        times["variants"] += time.process_time() - between
    return {name: round(1000 * seconds / rounds, 1) for name, seconds in times.items()}


def arm(images: Path, output: Path, settings: dict[str, Any], **strip: Any) -> tuple[ScanOutcome, float]:
    """One scan, and the seconds for which its engine was busy."""
    busy: list[float] = []
    outcome = scan(
        images,
        output,
        explain="none",
        shard_rows=SHARD_ROWS,
        replicas=1,
        observe=lambda part: busy.append(part.engine["busy_s"]),
        **settings,
        **strip,
    )
    return outcome, max(busy)


def figures(outcome: ScanOutcome, engine_s: float, count: int) -> dict[str, Any]:
    """What a scan of so many images did."""
    return {
        "looked": outcome.strip.looked,
        "unstable": outcome.strip.unstable,
        "prefills": count + outcome.strip.variants,
        "engine_s": round(engine_s, 1),
        "images_per_second": round(outcome.steady_rate or 0.0, 1),
    }


def measure(count: int, settings: dict[str, Any], *, with_all: bool) -> dict[str, Any]:
    """Scans without a strip, with one of what is flagged, and of all."""
    with tempfile.TemporaryDirectory() as folder, ray_session():
        root, images = Path(folder), Path(folder, "images")
        images.mkdir()
        for number in range(count):
            (images / f"{number:05}.jpg").write_bytes(photo((640, 480), number))
        found: dict[str, Any] = {"images": count, "none": figures(*arm(images, root / "none", settings), count)}
        parts = RunFolder(str(root / "none"), Store()).tables(range(-(-count // SHARD_ROWS)), ["score"])
        scores = [score for _, table in parts for score in table["score"].to_pylist()]
        threshold = float(np.quantile(scores, 1 - FLAGGED))
        for name in ("flagged", "all") if with_all else ("flagged",):
            done = arm(images, root / name, settings, stability=name, threshold=threshold)
            found[name] = figures(*done, count)
        return found


def main() -> int:
    """Measure, print, and compare with the ceilings; those of time only at a simulated pace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--engine", choices=("fake", "vllm"), default="fake")
    parser.add_argument("--step-s", type=float, default=0.2, help="step of the simulated engine, which judges 8 images")
    parser.add_argument("--all", action="store_true", help="also look again at every image")
    arguments = parser.parse_args()
    fake = {"kind": "fake", "max_num_seqs": 8, "step_s": arguments.step_s}
    settings = {"engine": fake if arguments.engine == "fake" else {"kind": "vllm"}}
    found = measure(arguments.images, settings, with_all=arguments.all)
    plain, flagged = found["none"], found["flagged"]
    found["prefills"] = round(flagged["prefills"] / plain["prefills"], 3)
    found["engine_time"] = round(flagged["engine_s"] / plain["engine_s"], 3)
    found["cpu_ms"] = {f"{width}x{height}": cpu_ms((width, height), 5) for width, height in SIZES}
    print(json.dumps(found, indent=1))
    is_slow = arguments.engine == "fake" and found["engine_time"] > MAX_TIME
    is_dear = flagged["prefills"] - arguments.images > MAX_PREFILLS * flagged["looked"]
    return int(is_dear or is_slow)


if __name__ == "__main__":
    sys.exit(main())
