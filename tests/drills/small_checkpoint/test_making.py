"""Making the small checkpoint: its first layer, the labels of its patches, and the figures of its evaluation."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.small_checkpoint.evaluation import measure, model_card
from tools.small_checkpoint.start import SMALL, dct_patches
from tools.small_checkpoint.vision import IGNORED, patch_labels

pytestmark = pytest.mark.unit


def test_the_first_layer_sees_each_frequency_once() -> None:
    filters = dct_patches(SMALL.patch, SMALL.vision_hidden).reshape(SMALL.vision_hidden, -1)
    unit = filters / np.linalg.norm(filters, axis=1, keepdims=True)
    luminance = unit[:144] @ unit[:144].T
    assert np.abs(luminance - np.eye(144)).max() < 1e-5
    gains = np.linalg.norm(filters, axis=1)
    assert gains[0] < gains[143]


def test_patches_are_taught_where_the_forged_twin_differs() -> None:
    pixels = np.full((4, 28, 28, 3), 100, dtype=np.uint8)
    pixels[1, :14, :14] = 140  # the first pair's artifact: one patch of four
    pixels[1, :14, 14:] = 104  # a trace of it
    pixels[3] = 130  # the second pair's: everywhere
    labels = patch_labels(pixels, np.array([5, 7]), 14)
    assert labels.tolist() == [[0] * 4, [5, IGNORED, 0, 0], [0] * 4, [7] * 4]


def record(name: str, family: str | None = None, severity: str | None = None) -> dict[str, object]:
    return {"image": name, "family": family, "severity": severity}


def test_each_forged_picture_is_counted_with_its_original() -> None:
    records = [
        record("r0.png"), record("f0.png", "halo", "strong"),
        record("r1.png"), record("f1.png", "banding", "subtle"),
        record("r2.png"), record("f2.png", "banding", "visible"),
    ]  # fmt: skip
    scores = {"r0.png": 0.1, "f0.png": 0.9, "r1.png": 0.7, "f1.png": 0.3, "r2.png": 0.05, "f2.png": 0.8}
    said = "This is a fake image. Bright halos run along every edge in the frame."
    rows = [
        {"uri": f"/somewhere/data/test/{name}", "score": score, "explanation": said if name == "f0.png" else None}
        for name, score in scores.items()
    ]
    metrics = measure(records, rows)
    clear = {"images": 4, "accuracy": 1.0, "auroc": 1.0, "ece_15": 0.1125, "family_named": 0.5}
    assert metrics["visible and strong"] == clear
    subtle = {"images": 2, "accuracy": 0.0, "auroc": 0.0, "ece_15": 0.7, "family_named": 0.0}
    assert metrics["subtle"] == subtle
    assert metrics["false alarms"] == pytest.approx(1 / 3, abs=1e-4)
    card = model_card(
        {**metrics, "faces of a DCGAN": {"images": 4, "found fake": 0.25}},
        [{"split": "train", "rendered": False}, {"split": "test", "rendered": True}],
        {"vision": 1800.0},
    )
    assert "| strong | 2 | 1.000 | 1.000 | 1.000 |" in card
    assert "takes 25.0% for fake" in card
    assert "$" not in card


@pytest.mark.parametrize("module", ["small_checkpoint", "small_checkpoint.photographs"])
def test_the_commands_start(module: str) -> None:
    command = [sys.executable, "-m", f"tools.{module}", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert "photographs" in done.stdout
