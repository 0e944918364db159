"""A small labelled dataset that a tiny model can learn from, and the settings of a short run on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_striped(root: Path) -> Path:
    """40 images to train on and 16 to evaluate on, in FakeClue's layout: the fake ones are striped."""
    draw = np.random.default_rng(0)
    (root / "data_json").mkdir(parents=True)
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


def settings(model: Path | str, data: Path | str, storage: Path | str, **more: Any) -> dict[str, Any]:
    """Of a run of ten steps with eight samples each."""
    return {
        "model": str(model), "data": str(data), "storage_path": str(storage), "workers": 2, "batch_size": 8,
        "micro_batch": 2, "epochs": 2, "lr": 1e-3, "checkpoint_every": 4, **more,
    }  # fmt: skip
