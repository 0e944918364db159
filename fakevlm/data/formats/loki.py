"""LOKI's records of images (github.com/opendatalab/LOKI, data_json/image/true_or_false.json) as FakeClue's.

Each image is asked about twice, whether a model made it and whether it is of the real world, and the answers are Yes
and No. They are the truth about the image and explain nothing.
"""

import re
from collections import Counter
from typing import Any

from fakevlm.data.formats.fields import CATEGORY_KEYS, IMAGE_KEYS, TEXT_KEYS, fakeclue_fields, first_text
from fakevlm.data.formats.record_format import Converted, Place
from fakevlm.data.formats.wording import verdict_word
from fakevlm.data.labels import LABEL_NAMES, folder_label
from fakevlm.data.readers import Fault, Items
from fakevlm.data.record import CATEGORIES, FAKE, REAL
from fakevlm.errors import one_line

LOKI_CATEGORIES = (*CATEGORIES, "medicine")
"""FakeClue's and the one that only LOKI has."""

_NAMES = {
    "animals": "animal", "person": "human", "persons": "human", "people": "human", "sence": "scene", "scenes": "scene",
    "objects": "object", "document": "doc", "documents": "doc", "medical": "medicine",
}  # fmt: skip
"""LOKI's words, misspelt ones too, for FakeClue's categories where they differ."""
_CATEGORIES = {name: _NAMES.get(name, name) for name in (*LOKI_CATEGORIES, *_NAMES)}

POSITIONS = "positions"
"""Field with the positions, from 0, of the items that a record was made of; a harness numbers its answers so."""

_LABELS = {"real": REAL, "fake": FAKE, "1": REAL, "0": FAKE}
_YES_NO = {"yes": True, "no": False, "y": True, "n": False, "true": True, "false": False}

# "image_tf_image_real_ask_fake_doc": what it is and what is asked; in earlier files "image_fake_or_real_fake_doc".
_TYPE = re.compile(r"image_tf_image_(?P<truth>real|fake)_ask_(?P<asked>real|fake)_(?P<category>\w+)")
_EARLIER_TYPE = re.compile(r"image_fake_or_real_(?P<asked>real|fake)_(?P<category>\w+)")
_ID = re.compile(r"(?P<category>[a-z]+)_tf_(?P<asked>real|fake)_\d+_\d+")
# The sentence that asks; the one before it says that the image is one or the other.
_ASKS_FAKE = re.compile(r"\bis this (?:image|picture|photo)[^?.]*?\b(?:generated|synthe\w+|ai|artificial|fake)\b", re.I)
_ASKS_REAL = re.compile(r"\bis this (?:image|picture|photo)[^?.]*?\b(?:real|authentic|genuine|camera)\b", re.I)


def loki_records(items: Items, place: Place) -> Converted:
    """Each image once, with the positions of both questions about it, which must say the same."""
    made: list[tuple[int | None, dict[str, Any] | Fault]] = []
    seen: dict[str, tuple[int | None, dict[str, Any]]] = {}
    for position, (number, item) in enumerate(items):
        if not isinstance(item, dict):
            made.append((number, item))
            continue
        image = item.get("image_path", item.get("image"))
        name = image if isinstance(image, str) else None
        try:
            fields = loki_record(item)
        except ValueError as error:
            made.append((number, Fault(one_line(error), name)))
            continue
        if yes_or_no(item.get("answer")) is None:
            made.append((number, fields))
            continue
        first, known = seen.setdefault(fields["image"], (number, fields))
        if known is fields:
            fields[POSITIONS] = [position]
            made.append((number, fields))
        elif known["label"] == fields["label"]:
            known[POSITIONS].append(position)
        else:
            words = f"its answer says {verdict_word(fields['label'])}, record {first} says the opposite"
            made.append((number, Fault(words, name)))
    yield from made


def loki_record(item: dict[str, Any]) -> dict[str, Any]:
    """An item of LOKI in FakeClue's fields; fields without a meaning here are kept. Raises ValueError."""
    if "video_path" in item or item.get("modality", "image-text") != "image-text":
        raise ValueError(f"is about no image: modality {item.get('modality')!r}")
    image = first_text(item, IMAGE_KEYS, "image path")
    category = _category(item, image)
    if category is None:
        raise ValueError("has no category: neither a field cate or category nor a folder of that name")
    label = _label(item, image)
    if label is None:
        raise ValueError(
            "has no label: neither a field label, nor a folder real or fake in the image's path, nor Yes or No to "
            "whether it is real or generated"
        )
    texts = [] if yes_or_no(item.get("answer")) is not None else [str(item[key]) for key in _explanations(item)]
    return fakeclue_fields(item, image, label, category, texts[:1])


def _explanations(item: dict[str, Any]) -> list[str]:
    # The true answer to a multiple-choice question may be only its label, which explains nothing.
    return [key for key in reversed(TEXT_KEYS) if isinstance(item.get(key), str) and item[key].strip()]


def _category(item: dict[str, Any], image: str) -> object:
    """Its category in FakeClue's words; None if nothing tells it. What is unknown is left for the checks."""
    stated = next((item[key] for key in CATEGORY_KEYS if item.get(key) is not None), None)
    if stated is not None:
        return category_of(stated) if isinstance(stated, str) else stated
    folders = image.lower().replace("\\", "/").split("/")[:-1]
    in_path = next((_CATEGORIES[folder] for folder in folders if folder in _CATEGORIES), None)
    matches = (_match(_TYPE, item.get("question_type")), _match(_EARLIER_TYPE, item.get("question_type")))
    named = next((match["category"] for match in (*matches, _match(_ID, item.get("id"))) if match), None)
    return in_path or (category_of(named) if named else None)


def _label(item: dict[str, Any], image: str) -> object:
    """The label that all that tells it agrees on; None if nothing does. Raises ValueError where they disagree."""
    stated = item.get("label")
    known = _LABELS.get(str(stated).strip().lower()) if stated is not None else None
    if stated is not None and known is None:
        return stated  # anything odd is left for the checks
    kind = _match(_TYPE, item.get("question_type"))
    told = {
        "label": known,
        "answer": _answered(item),
        "question_type": _LABELS[kind["truth"]] if kind else None,
        "folder": folder_label(image, LABEL_NAMES),
    }
    votes = {what: label for what, label in told.items() if label is not None}
    if len(Counter(votes.values())) > 1:
        words = ", ".join(f"its {what} {verdict_word(label)}" for what, label in votes.items())
        raise ValueError(f"contradicts itself: {words}")
    return next(iter(votes.values()), None)


def _answered(item: dict[str, Any]) -> int | None:
    """The label by Yes or No to the question; None for another answer or question."""
    yes, asked = yes_or_no(item.get("answer")), _asked(item)
    if yes is None or asked is None:
        return None
    return asked if yes else (REAL if asked == FAKE else FAKE)


def yes_or_no(answer: object) -> bool | None:
    """Whether an answer is Yes; None where it is neither Yes nor No."""
    return _YES_NO.get(answer.strip().rstrip(".!").lower()) if isinstance(answer, str) else None


def asked_label(question: str) -> int | None:
    """Which label a question asks for: `Is this image generated by an AI model?` asks for fake. None if unclear."""
    fake, real = _ASKS_FAKE.search(question), _ASKS_REAL.search(question)
    return None if bool(fake) == bool(real) else (FAKE if fake else REAL)


def _asked(item: dict[str, Any]) -> int | None:
    """The label that an item asks for, by its question or by what it is called."""
    asked = asked_label(str(item.get("question") or ""))
    if asked is not None:
        return asked
    kind = item.get("question_type")
    match = _match(_TYPE, kind) or _match(_EARLIER_TYPE, kind) or _match(_ID, item.get("id"))
    return _LABELS[match["asked"]] if match else None


def category_of(name: str) -> str:
    """A category in FakeClue's words, where it has one: `animals` is `animal`, `sence` is `scene`."""
    return _CATEGORIES.get(name.strip().lower(), name)


def _match(pattern: re.Pattern[str], text: object) -> re.Match[str] | None:
    return pattern.fullmatch(text) if isinstance(text, str) else None
