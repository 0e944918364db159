"""A small labelled dataset that a tiny model can learn from, and runs on it that the tests share."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images to train on and 16 to evaluate on, in FakeClue's layout: the fake ones are striped."""
    root = tmp_path_factory.mktemp("labelled")
    draw = np.random.default_rng(0)
    (root / "data_json").mkdir()
    for split, count in (("train", 40), ("val", 16)):
        records = []
        for number in range(count):
            fake = number % 2 == 0
            name = f"object/{'fake' if fake else 'real'}/{split}-{number}.png"
            pixels = np.full((84, 84, 3), draw.integers(60, 200, 3), dtype=np.uint8)
            if fake:
                pixels[::2] = 0
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / name)
            clue = "Repeated patterns suggest synthesis." if fake else "Edges stay crisp where objects meet."
            answer = f"This is a {'fake' if fake else 'real'} image. {clue}"
            records.append(
                {
                    "image": name,
                    "label": 0 if fake else 1,
                    "cate": "object",
                    "width": 84,
                    "height": 84,
                    "conversations": [
                        {"from": "human", "value": "<image>Does the image looks real/fake?"},
                        {"from": "gpt", "value": answer},
                    ],
                }
            )
        (root / "data_json" / f"{split}.json").write_text(json.dumps(records))
    return root


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"zero": 0, "workers": 1},
    "zero 0": {"zero": 0},
    "zero 2": {"zero": 2},
    "zero 3": {"zero": 3},
    "lora": {
        "zero": 2, "workers": 1, "llm": {"mode": "lora"}, "vision": {"mode": "frozen"},
        "projector": {"mode": "lora"}, "lora": {"rank": 4},
    },
}  # fmt: skip
"""Settings of the shared runs; two workers unless said otherwise."""


def settings(model: Path, data: Path, storage: Path, **more: Any) -> dict[str, Any]:
    """Of a run of ten steps with eight samples each."""
    return {
        "model": str(model), "data": str(data), "storage_path": str(storage), "workers": 2, "batch_size": 8,
        "micro_batch": 2, "epochs": 2, "lr": 1e-3, "checkpoint_every": 4, **more,
    }  # fmt: skip


@pytest.fixture(scope="session")
def trained(
    tiny_model: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: str
) -> Callable[[str], Any]:
    """What a run of one of KINDS left; each is made when it is first asked for."""
    from fakescan.train.config import TrainConfig
    from fakescan.train.driver import run_train

    @functools.cache
    def run(kind: str) -> Any:
        storage = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        config = TrainConfig.model_validate(settings(tiny_model, labelled, storage, **KINDS[kind]))
        return run_train(config, ray_address=ray_cluster)

    return run
