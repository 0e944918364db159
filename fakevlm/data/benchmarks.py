"""Records of the benchmarks LOKI and DD-VQA as FakeClue's; what is assumed about their files is in docs/data.md."""

from typing import Any

from fakevlm.data.record import CATEGORIES, FAKE, REAL
from fakevlm.prompt import IMAGE_TOKEN, PromptSpec
from fakevlm.verdict import Verdict, parse_answer

LOKI_CATEGORIES = (*CATEGORIES, "medicine")
"""FakeClue's and the one that only LOKI has."""

_LOKI_NAMES = {"animals": "animal", "person": "human"}
"""LOKI's words for FakeClue's categories where they differ."""
_LOKI_FOLDERS = {name: _LOKI_NAMES.get(name, name) for name in (*LOKI_CATEGORIES, *_LOKI_NAMES)}

_IMAGE_KEYS = ("image", "image_path", "path", "file_name")
_CATEGORY_KEYS = ("cate", "category")
_TEXT_KEYS = ("answer", "explanation", "reason")

_LABELS = {"real": REAL, "fake": FAKE, "1": REAL, "0": FAKE}
_FOLDER_LABELS = {
    **dict.fromkeys(("real", "original", "original_sequences"), REAL),
    **dict.fromkeys(("fake", "manipulated_sequences", "deepfakes", "face2face", "faceswap", "neuraltextures"), FAKE),
}
"""Label by the name of a folder in lower case: those of FakeClue and those of FaceForensics++."""


def loki_record(item: dict[str, Any]) -> dict[str, Any]:
    """An item of LOKI in FakeClue's fields; fields without a meaning here are kept. Raises ValueError."""
    image = _first(item, _IMAGE_KEYS, "image path")
    category = item.get("cate", item.get("category"))
    if category is None:
        category = next((name for part in _folders(image) if (name := _LOKI_FOLDERS.get(part))), None)
    if category is None:
        raise ValueError("has no category: neither a field cate or category nor a folder of that name")
    label = _label(item, image)
    if label is None:
        raise ValueError("has no label: neither a field label nor a folder real or fake in the image's path")
    # The true answer to a multiple-choice question may be only its label, which explains nothing.
    text = next((str(item[key]) for key in reversed(_TEXT_KEYS) if isinstance(item.get(key), str)), "")
    if isinstance(category, str):
        category = _LOKI_NAMES.get(category, category)
    return _record(item, image, label, category, text, PromptSpec().question)


def dd_vqa_record(item: dict[str, Any]) -> dict[str, Any]:
    """An item of DD-VQA, one question about one frame, in FakeClue's fields. Raises ValueError."""
    image = _first(item, _IMAGE_KEYS, "image path")
    text = "" if "conversations" in item else _first(item, _TEXT_KEYS, "answer")
    label = _label(item, image)
    if label is None:
        said = parse_answer(text)
        if said is Verdict.UNCERTAIN:
            raise ValueError("has no label: no field label, no folder in the image's path and no answer that tells it")
        label = REAL if said is Verdict.REAL else FAKE
    question = str(item.get("question") or PromptSpec().question)
    if IMAGE_TOKEN not in question:
        question = f"{IMAGE_TOKEN}{question}"
    return _record(item, image, label, "deepfake", text, question)


def _record(
    item: dict[str, Any], image: str, label: object, category: object, text: str, question: str
) -> dict[str, Any]:
    used = {*_IMAGE_KEYS, *_CATEGORY_KEYS, *_TEXT_KEYS, "label", "question"}
    conversations = item.get("conversations") or [
        {"from": "human", "value": question},
        {"from": "gpt", "value": _answer(label, text)},
    ]
    rest = {name: value for name, value in item.items() if name not in used}
    return {**rest, "image": image, "label": label, "cate": category, "conversations": conversations}


def _answer(label: object, text: str) -> str:
    """The answer as FakeClue words it: the verdict first. A text that says the opposite is left for the checks."""
    text = text.strip()
    contrary = Verdict.REAL if label == FAKE else Verdict.FAKE
    if text.startswith("This is a") or parse_answer(text) is contrary:
        return text
    word = "fake" if label == FAKE else "real"
    return f"This is a {word} image." if text.lower().rstrip(".") in ("", word) else f"This is a {word} image. {text}"


def _label(item: dict[str, Any], image: str) -> object:
    """The label that the item states or its path tells; None if neither. Anything odd is left for the checks."""
    stated = item.get("label")
    if stated is not None:
        return _LABELS.get(str(stated).strip().lower(), stated)
    return next((label for part in _folders(image) if (label := _FOLDER_LABELS.get(part)) is not None), None)


def _folders(image: str) -> list[str]:
    return [part.lower() for part in image.split("/")[:-1]]


def _first(item: dict[str, Any], keys: tuple[str, ...], what: str) -> str:
    for key in keys:
        value = item.get(key)
        if isinstance(value, str):
            return value
    raise ValueError(f"has no {what}: no text under {', '.join(keys)}")
