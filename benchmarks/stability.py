"""What a stability strip costs: prefills by count, time at a GPU's pace, and CPU time of making variants.

    python benchmarks/stability.py                                # two minutes; exits with 1 above a ceiling
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
MAX_PREFILLS = 1.21
"""Ceiling of prefills with a strip of what is flagged, over those without."""
MAX_TIME = 1.30
"""Ceiling of the time, which such prefills take."""
SPEC = ImageSpec(shortest_edge=336, crop=(336, 336))
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


def arm(images: Path, output: Path, settings: dict[str, Any], **strip: Any) -> ScanOutcome:
    """One scan."""
    return scan(images, output, explain="none", shard_rows=64, replicas=1, **settings, **strip)


def measure(count: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Scans without a strip, of what is flagged, and of all."""
    with tempfile.TemporaryDirectory() as folder, ray_session():
        root, images = Path(folder), Path(folder, "images")
        images.mkdir()
        for number in range(count):
            (images / f"{number:05}.jpg").write_bytes(photo((640, 480), number))
        arm(images, root / "first", settings)
        parts = RunFolder(str(root / "first"), Store()).tables(range(-(-count // 64)), ["score"])
        scores = [score for _, table in parts for score in table["score"].to_pylist()]
        threshold = float(np.quantile(scores, 1 - FLAGGED))
        found: dict[str, Any] = {"images": count, "threshold": threshold}
        for name in ("none", "flagged", "all"):
            outcome = arm(images, root / name, settings, stability=name, threshold=threshold)
            found[name] = {
                "looked": outcome.strip.looked,
                "prefills": count + outcome.strip.variants,
                "seconds": round(outcome.seconds - outcome.startup_s, 1),
                "images_per_second": round(outcome.steady_rate or 0.0, 1),
            }
        return found


def main() -> int:
    """Measure, print, and compare with the ceilings; those of time only at a simulated pace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--engine", choices=("fake", "vllm"), default="fake")
    parser.add_argument("--step-s", type=float, default=0.2, help="step of the simulated engine, which judges 8 images")
    arguments = parser.parse_args()
    fake = {"kind": "fake", "max_num_seqs": 8, "step_s": arguments.step_s}
    settings = {"engine": fake if arguments.engine == "fake" else {"kind": "vllm"}}
    found = measure(arguments.images, settings)
    plain, flagged = found["none"], found["flagged"]
    found["prefills"] = round(flagged["prefills"] / plain["prefills"], 3)
    found["time"] = round(plain["images_per_second"] / flagged["images_per_second"], 3)
    found["cpu_ms"] = {f"{width}x{height}": cpu_ms((width, height), 5) for width, height in SIZES}
    print(json.dumps(found, indent=1))
    is_slow = arguments.engine == "fake" and found["time"] > MAX_TIME
    return int(found["prefills"] > MAX_PREFILLS or is_slow)


if __name__ == "__main__":
    sys.exit(main())
