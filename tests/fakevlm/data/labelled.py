"""Records and dataset folders for the tests of everything that reads them."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from fakevlm.data.record import Record

QUESTION = "<image>Does the image looks real/fake?"


def fields(image: str = "animal/real/1.png", label: int = 1, **changes: Any) -> dict[str, Any]:
    """A sound record as it stands in a file, with some fields changed."""
    word = "real" if label else "fake"
    answer = changes.pop("answer", f"This is a {word} image. The fur is even.")
    turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": answer}]
    sound = {"image": image, "label": label, "cate": "animal", "width": 8, "height": 6, "conversations": turns}
    return {**sound, **changes}


def record(image: str = "animal/real/1.png", label: int = 1, **changes: Any) -> Record:
    return Record.model_validate(fields(image, label, **changes))


def png(width: int = 8, height: int = 6) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def write_dataset(root: Path, items: Iterable[Any], *, split: str = "train", images: bool = True) -> Path:
    """Write FakeClue's layout: data_json/SPLIT.json, and an image for every record that names one below the root."""
    (root / "data_json").mkdir(parents=True, exist_ok=True)
    listed = list(items)
    (root / "data_json" / f"{split}.json").write_text(json.dumps(listed))
    for item in listed if images else ():
        place = item.get("image") if isinstance(item, dict) else None
        if isinstance(place, str) and place and not place.startswith("/") and ".." not in place:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_bytes(png())
    return root
