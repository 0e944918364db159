"""A record of ours from an item of another trainer: image, label and words, and what is made up or left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fakevlm.data.formats.chat import FIELDS, Talk, talk_of
from fakevlm.data.formats.embedded import EmbeddedImage
from fakevlm.data.formats.fields import with_image
from fakevlm.data.formats.loki import POSITIONS, category_of
from fakevlm.data.formats.wording import verdict_sentence, verdict_word, worded
from fakevlm.data.labels import folder_label
from fakevlm.data.readers import Fault
from fakevlm.data.record import CATEGORIES, FAKE, REAL
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Verdict, parse_answer

_MAX_PATH = 4096
"""Letters of the longest path that a system takes; what is longer is an image in base64."""
_RESERVED = ("source", "family", "severity")
"""Fields that mean something in a record of ours, and may mean something else in another's."""


@dataclass(frozen=True)
class ImportSettings:
    """What is not in a file of records."""

    labels: Mapping[str, int]
    """Label by the name, in lower case, of a class or of a folder."""
    category: str = "object"
    """Category of records that name none of FakeClue's."""
    image_root: str | None = None
    """What image paths begin with, to be taken off them."""
    image_folder: str | None = None
    """Where image paths count from, in the same store; by default the folder of the file."""


def imported_record(
    item: dict[str, Any], labels: Mapping[str, int], settings: ImportSettings, notes: Counter[str]
) -> tuple[str | EmbeddedImage, dict[str, Any]]:
    """The image of an item, and the fields of its record. Raises ValueError with what is missing."""
    twice = next((value for value in item.values() if isinstance(value, Fault)), None)
    if twice is not None:
        raise ValueError(twice.message)
    talk = talk_of(item)
    image = _image(talk)
    turns = _asked_first(talk)
    answer = next((text for speaker, text in turns if speaker == "gpt"), "")
    name = image.name if isinstance(image, EmbeddedImage) else image.replace("\\", "/")
    label = _label(item, labels, answer, name)
    category = _category(item, settings, notes)
    said = worded(label, answer)
    if not answer.strip():
        notes["records have no answer; theirs says the label and gives no reason"] += 1
        turns = [turns[0] if turns else ("human", PromptSpec().question), ("gpt", verdict_sentence(label)), *turns[2:]]
    elif said != answer.strip():
        notes[f"answers did not begin with the verdict, such as {verdict_sentence(FAKE)!r}, which was put first"] += 1
        turns = [turns[0], ("gpt", said), *turns[2:]]
    notes["system prompts were left out"] += talk.has_system
    fields = _kept(item, notes)
    if isinstance(image, EmbeddedImage):
        fields |= {"width": image.width, "height": image.height}
    conversations = [{"from": speaker, "value": text} for speaker, text in turns]
    return image, {**fields, "label": label, "cate": category, "conversations": conversations}


def _image(talk: Talk) -> str | EmbeddedImage:
    if len(talk.images) != 1:
        raise ValueError(f"has {len(talk.images) or 'no'} images, a record has one")
    image = talk.images[0]
    if not isinstance(image, str | EmbeddedImage) or image == "":
        raise ValueError(f"its image is {repr(image)[:40]}, not a path")
    if isinstance(image, str) and (image.startswith("data:") or len(image) > _MAX_PATH):
        what = f"{image[:24]}…, {len(image):,} letters"
        raise ValueError(f"its image is written into the text ({what}): write it to a file, or into Parquet as bytes")
    return image


def _asked_first(talk: Talk) -> list[tuple[str, str]]:
    """The turns, with the image in the first question where no question has it."""
    turns = list(talk.turns)
    if turns and turns[0][0] == "human" and not any("<image>" in text for _, text in turns):
        bare = turns[0][1].strip()
        turns[0] = ("human", with_image(bare) if bare else PromptSpec().question)
    return turns


def label_key(item: dict[str, Any]) -> str | None:
    """The name of the field with the label, written in any case; None where none has a value."""
    return next((name for name in item if name.lower() == "label" and item[name] is not None), None)


def _label(item: dict[str, Any], labels: Mapping[str, int], answer: str, image: str) -> int:
    """The label that the item states, its answer says or its folder has. Raises ValueError."""
    key = label_key(item)
    stated = item[key] if key is not None else None
    said = {Verdict.REAL: REAL, Verdict.FAKE: FAKE}.get(parse_answer(answer))
    # A folder 0 or 1 is one of a numbering, whatever --label says of the numbers of a field.
    folder = folder_label(image, {name: label for name, label in labels.items() if not name.isdigit()})
    known = None if stated is None else labels.get(str(stated).strip().lower())
    votes = {"label": known, "answer": said, "folder": folder}
    found = {what: label for what, label in votes.items() if label is not None}
    if len(set(found.values())) > 1:
        raise ValueError(
            "contradicts itself: " + ", ".join(f"its {what} {verdict_word(x)}" for what, x in found.items())
        )
    if stated is not None and known is None:
        if str(stated) not in ("0", "1") or isinstance(stated, bool):
            raise ValueError(f"label {stated!r} is neither real nor fake: say which, such as --label {stated}=fake")
        other = found.get("answer", found.get("folder"))
        if other is None or other != int(stated):
            raise ValueError(
                f"label {stated}: which of 0 and 1 is fake? In FakeClue 0 is; say it with --label 0=fake --label 1=real"
            )
    if not found:
        raise ValueError(
            "has no label: no field label (rename one that is called otherwise), no answer that says real or fake, no "
            "folder with such a name"
        )
    return next(iter(found.values()))


def _category(item: dict[str, Any], settings: ImportSettings, notes: Counter[str]) -> str:
    stated = item.get("cate", item.get("category"))
    known = category_of(stated) if isinstance(stated, str) else None
    if known in CATEGORIES:
        return str(known)
    what = "name no category" if stated is None else "name a category that is not FakeClue's"
    notes[f"records {what} and count as {settings.category} (--category)"] += 1
    return settings.category


def _kept(item: dict[str, Any], notes: Counter[str]) -> dict[str, Any]:
    """The other plain fields of an item. Those that a record of ours uses otherwise get another name."""
    is_ours = {"image", "label", "cate", "conversations"} <= item.keys()
    left = {*FIELDS, "label", "cate", "category", "answers", POSITIONS} | (
        {label_key(item)} if label_key(item) else set()
    )
    kept: dict[str, Any] = {}
    for name, value in item.items():
        if name in left:
            continue
        if not isinstance(value, str | int | float) or value != value:  # JSON has no NaN
            notes[f"fields {name!r} were left out"] += not is_ours
            continue
        kept[f"imported_{name}" if name in _RESERVED and not is_ours else name] = value
    return kept
