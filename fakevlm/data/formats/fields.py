"""The fields that published forms name differently, and the record that is made of them."""

from collections.abc import Sequence
from typing import Any

from fakevlm.data.formats.wording import worded
from fakevlm.prompt import IMAGE_TOKEN, PromptSpec

IMAGE_KEYS = ("image", "image_path", "path", "file_name")
CATEGORY_KEYS = ("cate", "category")
TEXT_KEYS = ("answer", "explanation", "reason")


def first_text(item: dict[str, Any], keys: Sequence[str], what: str) -> str:
    """The first of these fields that is a text. Raises ValueError."""
    for key in keys:
        value = item.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
            return value[0]
        if isinstance(value, list):
            raise ValueError(f"names {len(value)} {what}s under {key}, not one")
    raise ValueError(f"has no {what}: no text under {', '.join(keys)}")


def fakeclue_fields(
    item: dict[str, Any], image: str, label: object, category: object, answers: Sequence[str], question: str = ""
) -> dict[str, Any]:
    """A record of an image. `answers`: what is said about it, as published; none, and it has no conversation."""
    used = {*IMAGE_KEYS, *CATEGORY_KEYS, *TEXT_KEYS, "label", "question"}
    conversations = item.get("conversations") or []
    if answers and not conversations:
        conversations = [
            {"from": "human", "value": with_image(question or PromptSpec().question)},
            {"from": "gpt", "value": worded(label, answers[0])},
        ]
    rest = {name: value for name, value in item.items() if name not in used}
    said = {"answers": list(answers)} if answers else {}
    return {**rest, **said, "image": image, "label": label, "cate": category, "conversations": conversations}


def with_image(question: str) -> str:
    """The question with the image at its beginning where it names none."""
    return question if IMAGE_TOKEN in question else f"{IMAGE_TOKEN}{question}"
