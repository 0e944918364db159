"""Samples per second of `fakescan train` with one worker over a plain loop; exits non-zero below the floor.

    make bench-train                                  # about 10 minutes on 2 cores
    python benchmarks/train.py --pairs 1 --steps 20   # a look

Both train the small architecture (112 pixels, 64 image tokens) on the same images in fp32 with the same batch. Runs
alternate; the rate is that after the first quarter of the steps, and the floor is held against the median of the
pairs' ratios. DeepSpeed with one worker is reported beside it, without a floor.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.arms import Arms
from benchmarks.report import Report, median, ratios
from tools.small_checkpoint.start import build_small

FLOOR = 0.95
WORDS = ("smooth", "bright", "edge", "pattern", "texture", "light", "shadow", "corner", "blurred", "repeated", "colour")


def main() -> None:
    """Parse, alternate, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    settings = parser.parse_args()
    report = Report("train", {name: str(value) for name, value in vars(settings).items()})
    print(f"machine: {report.machine}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder:
        work = Path(folder)
        answers = write_data(work / "data", settings.batch * 16)
        model = build_small(work / "model", answers)
        arms = Arms("", {}, str(model), work, "")
        runs = [("ours", 0), ("plain", None), ("ours, ZeRO-2", 2)]
        for pair in range(settings.pairs):
            for name, zero in runs if pair % 2 == 0 else reversed(runs):
                if zero is None:
                    plain(arms, report, work, settings)
                else:
                    ours(arms, report, work, settings, name, zero)
    report.table(("ours", "plain", "ours, ZeRO-2"), ("samples_s", "startup_s", "peak_mb"))
    for name in ("ours", "ours, ZeRO-2"):
        ratio = median(ratios(report.values(name, "samples_s"), report.values("plain", "samples_s")))
        if name == "ours":
            report.require("samples/s over the plain loop", ratio, FLOOR)
        elif ratio is not None:
            print(f"      samples/s of {name} over the plain loop: {ratio:.2f}, no floor")
    sys.exit(report.finish())


def write_data(folder: Path, count: int) -> list[str]:
    """Images of noise in FakeClue's layout, and answers of 12 to 30 words; returns the answers."""
    draw = np.random.default_rng(0)
    records, answers = [], []
    for number in range(count):
        fake = number % 2 == 0
        name = f"object/{'fake' if fake else 'real'}/{number}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        small = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((160, 140), Image.Resampling.BICUBIC).save(folder / name, quality=92)
        words = " ".join(draw.choice(WORDS, draw.integers(8, 26)))
        answer = f"This is a {'fake' if fake else 'real'} image. {words}."
        answers.append(answer)
        talk = [{"from": "human", "value": "<image>Does the image looks real/fake?"}, {"from": "gpt", "value": answer}]
        records.append({"image": name, "label": int(not fake), "cate": "object", "conversations": talk})
    (folder / "data_json").mkdir()
    (folder / "data_json" / "train.json").write_text(json.dumps(records))
    return answers


def ours(arms: Arms, report: Report, work: Path, settings: argparse.Namespace, name: str, zero: int) -> None:
    """`fakescan train`."""
    storage = Path(tempfile.mkdtemp(dir=work))
    config = {
        "model": arms.model, "data": str(work / "data"), "storage_path": str(storage), "zero": zero, "lr": 1e-3,
        "batch_size": settings.batch, "micro_batch": settings.batch, "max_steps": settings.steps, "epochs": 1000,
        "checkpoint_every": 1_000_000,
    }  # fmt: skip
    file = storage / "train.yaml"
    file.write_text(json.dumps(config))
    program = Path(sys.executable).with_name("fakescan")
    finished = arms.run([str(program), "train", str(file)])
    notes = [json.loads(line) for line in (storage / "train" / "metrics.jsonl").read_text().splitlines()]
    add(report, name, [note["at"] for note in notes], settings.batch, finished)


def plain(arms: Arms, report: Report, work: Path, settings: argparse.Namespace) -> None:
    """The plain loop."""
    more = ["--model", arms.model, "--steps", str(settings.steps), "--batch", str(settings.batch)]
    finished = arms.run([sys.executable, "-m", "benchmarks.plain_train", str(work / "data"), *more])
    add(report, "plain", finished.json()["done"], settings.batch, finished)


def add(report: Report, name: str, done: list[float], batch: int, finished: Any) -> None:
    """Record the rate after the first quarter of the steps."""
    warm = len(done) // 4
    report.add(
        name,
        samples_s=batch * (len(done) - 1 - warm) / (done[-1] - done[warm]),
        startup_s=done[0] - finished.started,
        peak_mb=finished.peak_bytes / 1e6,
        others_cores=finished.others_cores,
    )


if __name__ == "__main__":
    main()
