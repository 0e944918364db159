"""The model card says what was shown but the records as they are."""

from pathlib import Path
from typing import Any

import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.metrics_actor import StepMetrics, TrainResult
from fakescan.train.result.model_card import model_card
from tests.striped import settings

pytestmark = pytest.mark.unit

RESULT = TrainResult(steps=10, steps_per_epoch=5, samples=40, exported_step=10)


def card(tmp_path: Path, result: TrainResult = RESULT, **more: Any) -> str:
    return model_card(TrainConfig.model_validate(settings("m", "d", tmp_path, **more)), result)


def test_of_records_as_they_are_nothing_more_is_said(tmp_path: Path) -> None:
    text = card(tmp_path)
    assert "- 40 records\n" in text
    assert not any(word in text for word in ("at random", "classes", "weights in the loss", "share of fakes"))


def test_augmentation_and_classes(tmp_path: Path) -> None:
    result = RESULT.model_copy(update={"fakes": 30})
    text = card(tmp_path, result, augment={"webp": None, "blur": [1, 2]}, balance="sampling")
    assert "- 40 records, 30 of them fake\n" in text
    assert "- images changed at random while training: 50 % of the samples by up to 2 of jpeg 40 to 95, resize" in text
    assert "blur 1 to 2, flip, real and fake ones alike; held-out images as they are\n" in text
    assert "- both classes shown equally often: " in text
    assert "- so a score, until it is calibrated, is not that of the data's own share of fakes\n" in text
    assert "- both classes count alike in the loss: " in card(tmp_path, result, balance="weights")
    weighted = card(tmp_path, result, class_weights={"real": 2.5})
    assert "- weights in the loss: fake 1, real 2.5\n" in weighted
    assert "is not that of the data's own share of fakes" in weighted


def test_what_the_log_says_of_a_step() -> None:
    assert StepMetrics(step=1, at=0.0, samples=8, fakes=2, augmented=6).shares == {"fakes": 0.25, "augmented": 0.75}
    assert StepMetrics(step=1, at=0.0, samples=8, fakes=0).shares == {"fakes": 0.0}
    assert StepMetrics(step=1, at=0.0, samples=0, fakes=0, augmented=0).shares == {}
    assert StepMetrics(step=1, at=0.0).shares == {}
