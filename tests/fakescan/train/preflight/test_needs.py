"""What a run takes, by the sizes of the released model."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.train.config import TrainConfig
from fakescan.train.preflight.needs import Needs, activation_bytes, check_disk, memory_per_worker, needs
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

SEVEN_B = {"llm": 6_738_000_000, "vision": 304_000_000, "projector": 21_000_000}
LLAVA: dict[str, Any] = {
    "text_config": {"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32_064},
    "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 336, "patch_size": 14},
    "vision_feature_select_strategy": "default",
}


def config(tmp_path: Path, **more: Any) -> TrainConfig:
    return TrainConfig.model_validate({"model": "m", "data": "d", "storage_path": str(tmp_path), **more})


def test_memory_of_the_published_recipe(tmp_path: Path) -> None:
    recipe = config(tmp_path, workers=8, batch_size=256, micro_batch=32, gradient_checkpointing=True)
    states = memory_per_worker(recipe, SEVEN_B, bf16=True)
    assert states == pytest.approx(7.06e9 * 2 + 7.06e9 * 14 / 8, rel=0.01), "weights whole, the rest over 8 workers"
    with_it = activation_bytes(recipe, LLAVA, longest=800, bf16=True)
    without = activation_bytes(
        recipe.model_copy(update={"gradient_checkpointing": False}), LLAVA, longest=800, bf16=True
    )
    assert with_it < 40e9, "it runs on cards of 80 GB"
    assert without > 100e9


def test_a_disk_without_room(tmp_path: Path) -> None:
    much = Needs(states=0, activations=0, checkpoint=10**15, storage=3 * 10**15, share=10**15, staging=10**15)
    with pytest.raises(UserError, match=r"^storage_path: 3 checkpoints and the result need about 3000000\.0 GB"):
        check_disk(config(tmp_path), much)


@pytest.mark.parametrize(("zero", "workers", "share"), [(2, 8, 1 / 8), (0, 8, 1)])
def test_what_workers_put_together_on_one_disk(
    zero: int, workers: int, share: float, tiny_model: Path, tmp_path: Path
) -> None:
    from fakevlm.checkpoint.checkpoint import open_checkpoint

    asked = config(tmp_path, zero=zero, workers=workers, batch_size=64, micro_batch=8)
    found = needs(asked, open_checkpoint(str(tiny_model)), SEVEN_B, longest=600, bf16=True)
    assert found.share == pytest.approx(found.checkpoint * share)
    assert found.staging_room(8 if zero else 1) == pytest.approx(found.checkpoint, abs=8)
    assert found.staging_room(1) >= found.staging, "the first worker writes the model as well"


def test_estimates_read_the_checkpoints_own_sizes(tiny_model: Path, tmp_path: Path) -> None:
    model = json.loads((tiny_model / "config.json").read_text())
    one = activation_bytes(config(tmp_path, micro_batch=1), model, longest=100, bf16=False)
    assert activation_bytes(config(tmp_path, micro_batch=4), model, longest=100, bf16=False) == 4 * one
