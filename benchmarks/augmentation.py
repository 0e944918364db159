"""What augmentation in training does to robustness: the small architecture with and without it, all else the same.

    python benchmarks/augmentation.py                         # about 12 minutes on 2 cores
    python benchmarks/augmentation.py --seeds 0,1,2           # about 35 minutes
    python benchmarks/augmentation.py --steps 60              # a look
    python benchmarks/augmentation.py --work FOLDER           # keeps everything there; the same command again goes on

Pictures are rendered, and `fakescan data forge` makes pairs of them; those that are tested on are of other pictures
than those that are learnt from. Their artifacts are visible: strong ones outlast JPEG, and subtle ones are not found.
`fakescan train` goes on from the built-in model, once as it is and once with `augment`: the same records, order, steps
and seed. `fakescan evaluate --robustness` judges the results. Every figure is a difference over the same images; its
interval comes from drawing the pictures anew, with all images of each (10,000 times), and says nothing of how another
seed would train: that is what the seeds beside each other show.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from benchmarks.arms import Arms
from benchmarks.report import Report
from fakevlm.builtin import BUILT_IN
from fakevlm.data.dataset import open_dataset
from tools.small_checkpoint import rendered_scenes

CONDITIONS = ("jpeg70", "blur3", "resize0.5", "rotate15")
"""Where augmentation has to help."""
BESIDE = ("gauss10", "jpeg30", "blur3-jpeg70", "resize0.75-webp80")
"""Also judged with --more."""
CLEAN_POINTS = -1.0
"""Floor of the difference of accuracy on images as they are."""
EDGE = 112
"""Pixels of the images: the model's input size, as it was trained."""
KINDS: dict[str, tuple[str, Callable[[int], Image.Image]]] = {
    "leaves": ("scene", rendered_scenes.dead_leaves),
    "large": ("object", partial(rendered_scenes.dead_leaves, large=True)),
    "land": ("satellite", rendered_scenes.land),
}
"""Category and renderer of each kind of picture."""
FIRST_SEED = 50_000
"""Of the pictures; those that the built-in model has seen have seeds below 160."""
ARMS = ("plain", "augmented")
AUGMENT = json.dumps(
    {"resize": [0.5, 1.0], "blur": [0.3, 3.0]}
    | dict.fromkeys(("webp", "crop", "gauss", "sharpen", "contrast"))
    | {"flip": False}
)
"""Only the four operators of the conditions, the strengths of two of them up to the conditions'."""


def main() -> None:
    """Parse, make the data, train and evaluate both, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for data, runs and evaluations; by default a temporary one")
    parser.add_argument("--seeds", default="0", help="seeds of the trainings, each for both")
    parser.add_argument("--steps", type=int, default=640)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--pictures", type=int, default=60, help="pictures to learn from, and as many to test on")
    parser.add_argument("--pairs", type=int, default=30, help="forged pairs of a picture to learn from")
    parser.add_argument("--test-pairs", type=int, default=20, help="forged pairs of a picture to test on")
    parser.add_argument("--severity", default="visible", help="of the artifacts: subtle, visible, strong")
    parser.add_argument(
        "--augment", default=AUGMENT, help="settings of the augmentation, as JSON; {} is the training's defaults"
    )
    parser.add_argument("--more", action="store_true", help="judge other conditions as well")
    settings = parser.parse_args()
    report = Report("augmentation", {name: str(value) for name, value in vars(settings).items() if name != "work"})
    print(f"machine: {report.machine}\n", flush=True)
    if settings.work is None:
        with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder:
            sys.exit(_Comparison(Path(folder), report, settings).run())
    settings.work.mkdir(parents=True, exist_ok=True)
    sys.exit(_Comparison(settings.work.absolute(), report, settings).run())


class _Comparison:
    """Both arms for every seed, on one pair of datasets."""

    def __init__(self, work: Path, report: Report, settings: argparse.Namespace) -> None:
        self.work = work
        self.report = report
        self.settings = settings
        self.conditions = CONDITIONS + (BESIDE if settings.more else ())
        self.arms = Arms("", {}, str(BUILT_IN), work, "")

    def run(self) -> int:
        self._forge("train", self.settings.pairs, 0)
        self._forge("test", self.settings.test_pairs, self.settings.pictures)
        right: dict[str, list[NDArray[np.bool_]]] = {arm: [] for arm in ARMS}
        for seed in map(int, self.settings.seeds.split(",")):
            for arm in ARMS:
                right[arm].append(self._one(arm, seed))
        return self._compare(*(np.array(right[arm]) for arm in ARMS))

    def _forge(self, side: str, pairs: int, first: int) -> None:
        """The pictures of one side, and pairs of them."""
        count = self.settings.pictures
        draw_pictures(self.work / "pictures" / side, range(FIRST_SEED + first, FIRST_SEED + first + count))
        self._fakescan(
            "data", "forge", str(self.work / "pictures" / side), "-o", str(self.work / side),
            "--per-photo", str(pairs), "--edge", str(EDGE), "--severity", self.settings.severity, "--seed", str(first),
        )  # fmt: skip

    def _one(self, arm: str, seed: int) -> NDArray[np.bool_]:
        """Train and evaluate one: which images it is right about, bool[conditions, images]."""
        name = f"{arm}-{seed}"
        settings = self.settings
        config: dict[str, Any] = {
            "model": str(BUILT_IN), "data": str(self.work / "train"), "storage_path": str(self.work / "runs"),
            "name": name, "zero": 0, "precision": "bf16", "lr": settings.lr, "batch_size": settings.batch,
            "micro_batch": settings.batch, "epochs": 1000, "max_steps": settings.steps, "weight_decay": 0.05,
            "checkpoint_every": settings.steps, "keep": 1, "seed": seed,
        }  # fmt: skip
        if arm == "augmented":
            config["augment"] = json.loads(settings.augment)
        file = self.work / f"{name}.yaml"
        file.write_text(json.dumps(config))
        self._fakescan("train", str(file))
        output = self.work / "evaluations" / name
        self._fakescan(
            "evaluate", "--data", str(self.work / "test"), "--model", str(self.work / "runs" / name / "model"),
            "--no-explain", "--robustness", ",".join(self.conditions), "-o", str(output),
        )  # fmt: skip
        right = self._right(output)
        numbers = json.loads((output / "metrics.json").read_text())
        found = {name: scores["accuracy"] for name, scores in numbers["conditions"].items()}
        for condition, mean in zip(("none", *self.conditions), right.mean(axis=1), strict=True):
            assert abs(found[condition] - mean) < 1e-9, "the images are those of the evaluation, in its order"
        log = (self.work / "runs" / name / "metrics.jsonl").read_text().splitlines()
        shares = [json.loads(line).get("augmented", 0) for line in log]
        self.report.add(
            name,
            **{condition: 100 * accuracy for condition, accuracy in found.items()},
            **{f"auroc {name}": scores["auroc"] for name, scores in numbers["conditions"].items()},
            loss=float(np.mean([json.loads(line)["loss"] for line in log[-20:]])),
            augmented=sum(shares) / (len(log) * settings.batch),
        )
        return right

    def _right(self, output: Path) -> NDArray[np.bool_]:
        """Whether each image is on the right side of one half, bool[conditions, images], in the data's order."""
        labels = {str(self.work / "test" / record.image): record.is_fake for record in self._test()}
        clean = _rows(output / "scan")
        shown = _rows(output / "robustness")
        assert clean["uri"] == list(labels), "no image is named twice, and none is missing"
        fakes = np.array(list(labels.values()))
        scores = np.array(clean["score"] + shown["score"], dtype=np.float64).reshape(-1, len(fakes))
        right: NDArray[np.bool_] = (scores >= 0.5) == fakes
        return right

    def _test(self) -> Sequence[Any]:
        return open_dataset(self.work / "test").records

    def _compare(self, plain: NDArray[np.bool_], augmented: NDArray[np.bool_]) -> int:
        """Report the differences of two arms, bool[seeds, conditions, images], and hold them against the floors."""
        sources = np.unique([record.source for record in self._test()], return_inverse=True)[1]
        difference = 100 * (augmented.astype(np.float64) - plain)
        print(f"\n{'accuracy, %':<20}{'plain':>8}{'augmented':>11}{'difference':>12}  95 % interval      of each seed")
        for number, condition in enumerate(("none", *self.conditions)):
            of_images = difference[:, number]
            mean = float(of_images.mean())
            low, high = interval(of_images.mean(axis=0), sources)
            before, after = (100 * float(of[:, number].mean()) for of in (plain, augmented))
            seeds = [float(one) for one in of_images.mean(axis=1)]
            each = "  ".join(f"{one:+.1f}" for one in seeds)
            print(f"{condition:<20}{before:>8.1f}{after:>11.1f}{mean:>+12.2f}  {low:+6.2f} to {high:+6.2f}   {each}")
            self.report.measurements.setdefault("difference", []).append(
                {"condition": condition, "plain": before, "augmented": after, "points": mean}
                | {"low": low, "high": high, "seeds": seeds}
            )
            if condition == "none":
                self.report.require("points of accuracy on images as they are", mean, CLEAN_POINTS)
            elif condition in CONDITIONS:
                self.report.require(f"points of accuracy under {condition}, lower end of the interval", low, 0.0)
        return self.report.finish()

    def _fakescan(self, *arguments: str) -> None:
        self.arms.run([str(Path(sys.executable).with_name("fakescan")), *arguments])


def draw_pictures(folder: Path, seeds: Sequence[int]) -> None:
    """Render a picture for each seed, the kinds in turn, into folders named after their categories."""
    jobs = [(number % len(KINDS), seed) for number, seed in enumerate(seeds)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_draw, folder), jobs, chunksize=2))


def _draw(folder: Path, job: tuple[int, int]) -> None:
    name, (category, draw) = list(KINDS.items())[job[0]]
    file = folder / category / f"{name}-{job[1]}.png"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".partial")
        draw(job[1]).save(unfinished, "PNG")
        unfinished.rename(file)


def _rows(run: Path) -> dict[str, list[Any]]:
    """Addresses and scores of a scan, in the order of its rows."""
    parts = pa.concat_tables(
        pq.read_table(part, columns=["row_id", "uri", "score"]) for part in sorted((run / "parts").glob("*.parquet"))
    )
    columns: dict[str, list[Any]] = parts.sort_by("row_id").to_pydict()
    return columns


def interval(values: NDArray[np.float64], sources: NDArray[np.int64], resamples: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean of float64[n], by drawing the sources anew, each with all of its values."""
    sums, counts = np.bincount(sources, values), np.bincount(sources)
    chosen = np.random.default_rng(0).integers(len(counts), size=(resamples, len(counts)))
    low, high = np.quantile(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
