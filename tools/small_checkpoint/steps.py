"""The steps from nothing to the small checkpoint that ships, each beginning where an earlier start of it stopped."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from fakevlm.checkpoint.card import Card, read_card, write_card
from fakevlm.checkpoint.export import write_weights
from fakevlm.data.record import FAKE
from fakevlm.forge import FAMILIES, SEVERITIES, Box, fake_answer, real_answer
from fakevlm.metrics.calibration import fit
from fakevlm.verdict import Calibration
from tools.small_checkpoint.evaluation import mean, measure, model_card, write_faces
from tools.small_checkpoint.photographs import CACHE
from tools.small_checkpoint.start import build_small
from tools.small_checkpoint.vision import Cycle, Phase, pretrain

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
EDGE = 112
"""Pixels of the forged images: the model's input size, so that no artifact is lost to resizing."""


class ForgedSet(NamedTuple):
    """One dataset of forged pairs."""

    split: str
    """Side of the photographs' train/test split."""
    severities: tuple[str, ...]
    per_photo: int
    """Pairs from each photograph."""
    seed: int
    families: tuple[str, ...] = ()
    """Empty: all that suit the picture."""
    categories: tuple[str, ...] = ()
    """Categories of the pictures; empty: all."""


HARD = ("inpainting", "splice", "lighting", "repetition", "warp", "colour_bleeding")
SUBJECTS = ("animal", "human", "deepfake")
DATA = {
    "strong": ForgedSet("train", SEVERITIES[2:], 24, 1),
    "all": ForgedSet("train", SEVERITIES, 72, 2),
    "hard": ForgedSet("train", SEVERITIES[1:], 24, 3, HARD),
    "blended": ForgedSet("train", SEVERITIES[1:], 30, 4, ("self_blend",), SUBJECTS),
    "test": ForgedSet("test", SEVERITIES, 12, 0),
}
"""The tower begins with what is plain to see: begun with all of it, it finds nothing for a long time. More follows of
what it finds last, and of what suits few pictures. The evaluation has all severities in equal shares."""
HELD_OUT = "train=0.97,val=0.03"
"""Shares of the photographs trained on; the second part is evaluated on in the middle of the training."""
NOTICE = "learnt from forged photographs of 112 pixels and knows no generator; for real verdicts, name another"
"""After "the model NAME "."""
STRONG_STEPS, VISION_STEPS, BALANCED_STEPS, CLEAR_STEPS = 1_500, 8_500, 6_000, 24_000
"""Steps of the tower's training: on what is strong, on all severities, on all artifacts alike, and without what is
subtle."""


def run(*command: str) -> None:
    """Run a command of this environment and end with its status when it fails."""
    ended = subprocess.run(command, cwd=ROOT, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def photographs(work: Path, changes: list[str]) -> None:
    """The photographs, and one folder of links for each split."""
    run(sys.executable, "-m", "tools.small_checkpoint.photographs", str(work / "photographs"))
    for item in json.loads((work / "photographs" / "photographs.json").read_text()):
        subject = item["split"] == "train" and item["category"] in SUBJECTS
        for folder in (item["split"], *(["subjects"] if subject else [])):
            link = work / "splits" / folder / item["path"]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(work / "photographs" / item["path"])


def forge(work: Path, changes: list[str]) -> None:
    """Pairs to train on, and to evaluate on with all severities."""
    for name, data in DATA.items():
        more = ["--split-shares", HELD_OUT] if data.split == "train" else []
        more += ["--families", ",".join(data.families)] if data.families else []
        folder = data.split if not data.categories else "subjects"
        run(
            str(BIN / "fakescan"), "data", "forge", str(work / "splits" / folder), "-o", str(work / "data" / name),
            "--per-photo", str(data.per_photo), "--edge", str(EDGE), "--seed", str(data.seed),
            "--severity", ",".join(data.severities), *more,
        )  # fmt: skip

    held_out = records_of(work / "data", "all", "val")
    apart = {record["source"] for record in held_out}
    parts = [name for name, data in DATA.items() if data.split == "train" and name != "strong"]
    records = clear([record for name in parts for record in records_of(work / "data", name, "train")])
    folder = work / "data" / "data_json"
    folder.mkdir(exist_ok=True)
    (folder / "train.json").write_text(json.dumps([record for record in records if record["source"] not in apart]))
    (folder / "val.json").write_text(json.dumps(clear(held_out)))


def clear(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Originals and forged pictures in turn, without the subtle ones: they teach to be unsure of real pictures."""
    pairs = zip(records[::2], records[1::2], strict=True)
    return [record for pair in pairs if pair[1]["severity"] != "subtle" for record in pair]


def records_of(data: Path, name: str, split: str) -> list[dict[str, Any]]:
    """The records of one of several datasets side by side, as records of the folder that holds them."""
    records = json.loads((data / name / "data_json" / f"{split}.json").read_text())
    return [{**record, "image": f"{name}/{record['image']}"} for record in records]


def start(work: Path, changes: list[str]) -> None:
    """The untrained model, its tokenizer learnt from answers as the forge writes them."""
    if (work / "start" / "fakevlm.json").exists():
        return
    rng = np.random.default_rng(0)
    corners = [float(corner) for corner in np.linspace(0, 1, 7)]
    boxes = [Box(x0, y0, x1, y1) for x0, x1 in combinations(corners, 2) for y0, y1 in combinations(corners, 2)]
    fakes = (fake_answer(family, severity, box, rng) for family in FAMILIES for severity in SEVERITIES for box in boxes)
    build_small(work / "start", chain(fakes, (real_answer(rng) for _ in range(10_000))), seed=0)


def vision(work: Path, changes: list[str]) -> None:
    """The vision tower, as CLIP's is trained before LLaVA begins."""
    target = work / "tower"
    if (target / "fakevlm.json").exists():
        return
    strong, everything, *more = (work / "data" / name for name, data in DATA.items() if data.split == "train")
    first = (Phase(STRONG_STEPS, (strong,)), Phase(VISION_STEPS, (strong, everything)))
    second = (Phase(BALANCED_STEPS, (strong, everything, *more), balanced=True),)
    third = (Phase(CLEAR_STEPS, (everything, *more), balanced=True, severities=SEVERITIES[1:]),)
    cycles = (Cycle(1e-3, first), Cycle(7e-4, second), Cycle(1e-3, third))
    model = pretrain(work / "start", cycles, work / "vision.pt", seed=0)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "start", target, ignore=shutil.ignore_patterns("fakevlm.json"))
    write_weights(target, model.state_dict().items())
    shutil.copyfile(work / "start" / "fakevlm.json", target / "fakevlm.json")


def train(work: Path, changes: list[str]) -> None:
    """Training by `fakescan train`, with `changes` of jobs/small.yaml."""
    settings = [
        f"model={work / 'tower'}", f"data={work / 'data'}", f"storage_path={work / 'runs'}", *changes,
    ]  # fmt: skip
    run(str(BIN / "fakescan"), "train", "jobs/small.yaml", *(part for item in settings for part in ("--set", item)))


def pack(work: Path, changes: list[str]) -> None:
    """The result as it ships: weights rounded to bfloat16, half the size, and its card."""
    from safetensors.torch import load_file, save_file

    trained, packed = work / "runs" / "small" / "model", work / "packed"
    shutil.rmtree(packed, ignore_errors=True)
    shutil.copytree(trained, packed)
    weights = load_file(packed / "model.safetensors")
    save_file(
        {name: value.bfloat16() for name, value in weights.items()}, packed / "model.safetensors", {"format": "pt"}
    )
    card = Card(
        prompt=read_card(trained).prompt,
        knows_generators=False,
        notice=NOTICE,
        description="The small checkpoint of fakescan.",
    )
    write_card(packed, card)


def calibrate(work: Path, changes: list[str]) -> None:
    """Temperature and bias by the held-out pairs of the photographs trained on; the threshold stays at one half."""
    card = read_card(work / "packed")
    write_card(work / "packed", card.model_copy(update={"calibration": Calibration()}))
    records = json.loads((work / "data" / "data_json" / "val.json").read_text())
    images = work / "held-out.txt"
    images.write_text("".join(f"{work / 'data' / record['image']}\n" for record in records))
    logits = {row["uri"]: row["logit"] for row in scanned(work, images, explain="none")}
    fitted = fit(
        [record["label"] == FAKE for record in records],
        [logits[str(work / "data" / record["image"])] for record in records],
    )
    calibration = Calibration(
        temperature=fitted.temperature,
        bias=fitted.bias,
        prior=fitted.fakes / fitted.samples,
        fitted_images=fitted.samples,
    )
    write_card(work / "packed", card.model_copy(update={"calibration": calibration}))


def evaluate(work: Path, changes: list[str]) -> None:
    """metrics.json by a scan, with what ships, of the pairs that were never seen and of a generator's pictures."""
    records = json.loads((work / "data" / "test" / "data_json" / "train.json").read_text())
    metrics = measure(records, scanned(work, work / "data" / "test"))
    faces = write_faces(work / "faces", CACHE / "packages", count=400, seed=0)
    fake = [row["verdict"] == "fake" for row in scanned(work, faces)]
    metrics["faces of a DCGAN"] = {"images": len(fake), "found fake": mean(fake)}
    (work / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics, indent=1))


def scanned(work: Path, images: Path, explain: str = "all") -> list[dict[str, Any]]:
    """The rows of a scan of a folder or list of images with the packed model."""
    model = work / "packed"
    parts = (model / "model.safetensors", model / "fakevlm.json")
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    audit = work / "audits" / f"{images.stem}-{digest}"
    run(str(BIN / "fakescan"), "scan", str(images), "--output", str(audit), "--model", str(model), "--explain", explain)
    return [row for part in sorted((audit / "parts").glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def ship(work: Path, changes: list[str]) -> None:
    """The model, its metrics and its model card where the package has them."""
    target = ROOT / "fakevlm" / "assets" / "small"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "packed", target)
    shutil.copyfile(work / "metrics.json", target / "metrics.json")
    metrics = json.loads((work / "metrics.json").read_text())
    pictures = json.loads((work / "photographs" / "photographs.json").read_text())
    times = json.loads((work / "times.json").read_text())
    (target / "README.md").write_text(model_card(metrics, pictures, times))


STEPS: dict[str, Callable[[Path, list[str]], None]] = {
    step.__name__: step for step in (photographs, forge, start, vision, train, pack, calibrate, evaluate, ship)
}
"""All steps by name, in their order."""
