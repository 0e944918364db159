"""The image of a conversation: in which message it is, and in which form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fakescan.serve.problem import Problem

_TEXT = frozenset(
    {"text", "input_text", "output_text", "refusal", "thinking", "reasoning", "reasoning_text", "summary_text"}
)
_IMAGE = frozenset({"image_url", "input_image", "computer_screenshot"})
PART_SCHEMA: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "title": "Text",
            "description": "Text is ignored: the checkpoint has a prompt of its own.",
            "properties": {"type": {"enum": sorted(_TEXT)}, "text": {"type": "string"}},
            "required": ["type"],
        },
        {
            "type": "object",
            "title": "Image",
            "properties": {
                "type": {"enum": sorted(_IMAGE)},
                "image_url": {
                    "description": "`data:image/…;base64,…`, as it is or as `url` of an object. No URL is fetched.",
                    "oneOf": [
                        {"type": "string"},
                        {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
                    ],
                },
            },
            "required": ["type", "image_url"],
        },
    ]
}
"""JSON schema of a part of a message."""


@dataclass(frozen=True)
class ImageText:
    """An image as a request has it."""

    text: str
    """A `data:` URI, or the place of one in the body."""
    place: str
    """The field that it is in: `messages[0].content[1].image_url.url`."""


def find_image(messages: Sequence[Any], field: str) -> ImageText:
    """The image of the newest message that has any. Raises Problem unless it has exactly one.

    Earlier messages may have had others, which were answered then: a chat's history is sent with every question.
    """
    for index in range(len(messages) - 1, -1, -1):
        place = f"{field}[{index}]"
        name, parts = _parts(messages[index])
        place = f"{place}.{name}"
        images = [image for at, part in parts if (image := _image(part, f"{place}{at}"))]
        if len(images) > 1:
            raise Problem("invalid", f"{place}: {len(images)} images; send one in each request", param=place)
        if images:
            return images[0]
    kind = "input_image" if field == "input" else "image_url"
    raise Problem("invalid", f"{field}: 0 images; send exactly one, as an {kind} with a data: URI", param=field)


def _parts(item: Any) -> tuple[str, list[tuple[str, Any]]]:
    """The field of a message, or of what a tool gave back, that has its parts; each with its place in the field."""
    if not isinstance(item, dict):
        return "content", []
    kind = item.get("type")
    if isinstance(kind, str) and kind.endswith("_output"):
        output = item.get("output")
        if isinstance(output, dict):
            return "output", [("", output)]
        return "output", [(f"[{number}]", part) for number, part in enumerate(_list(output))]
    if kind not in (None, "message") and "role" not in item:
        return "content", []  # reasoning, calls of tools
    return "content", [(f"[{number}]", part) for number, part in enumerate(_list(item.get("content")))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _image(part: Any, place: str) -> ImageText | None:
    """The image of a part; None for text."""
    if isinstance(part, str):
        return None
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise Problem("invalid", f"{place}.type: missing; it is text or image_url", param=f"{place}.type")
    if kind in _TEXT:
        return None
    if kind not in _IMAGE:
        words = f"{place}: a part of the type {kind[:50]!r} cannot be judged; send an image as image_url"
        raise Problem("invalid", words, param=f"{place}.type")
    place = f"{place}.image_url"
    image = part.get("image_url")
    if isinstance(image, dict):
        place, image = f"{place}.url", image.get("url")
    if image is None and part.get("file_id") is not None:
        words = f"{place}: no files are kept here that file_id could name; send the image as a data: URI"
        raise Problem("invalid", words, param=place)
    if not isinstance(image, str):
        raise Problem("invalid", f"{place}: missing; send data:image/…;base64,…", param=place)
    return ImageText(image, place)
