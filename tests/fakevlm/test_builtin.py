"""The checkpoint that ships."""

import json

import pytest

from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.checkpoint.self_test import self_test

pytestmark = pytest.mark.unit


def test_it_is_whole_and_small_and_says_what_it_is() -> None:
    checkpoint = open_checkpoint(str(BUILT_IN))
    self_test(checkpoint)
    assert checkpoint.trained
    assert "112" in checkpoint.notice
    assert checkpoint.image_tokens == 64
    assert sum(file.stat().st_size for file in BUILT_IN.iterdir()) <= 16_000_000


def test_its_model_card_has_the_figures_that_were_measured() -> None:
    metrics = json.loads((BUILT_IN / "metrics.json").read_text())
    card = (BUILT_IN / "README.md").read_text()
    assert min(values["images"] for values in metrics["families"].values()) >= 50
    together = metrics["visible and strong"]
    assert together["accuracy"] >= 0.90
    assert together["auroc"] >= 0.96
    assert together["family_named"] >= 0.80
    assert min(values["family_named"] for values in metrics["families"].values()) >= 0.60
    for name, values in ({"visible and strong": metrics["visible and strong"]} | metrics["families"]).items():
        assert f"| {name} | {values['images']:,} | {values['accuracy']:.3f} | {values['auroc']:.3f} |" in card
