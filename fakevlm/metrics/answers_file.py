"""A file of answers that any model gave to images: JSONL, a JSON list or object, CSV or Parquet.

Also what ms-swift's `swift infer` writes (swift/pipelines/infer/infer.py: `response`, `labels`, `messages`, `images`)
and lmms-eval with `--log_samples` (lmms_eval/loggers/evaluation_tracker.py: `doc_id`, `filtered_resps`, `target`).
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.readers import READERS, SURROGATE, Fault, Items, json_items, object_pairs
from fakevlm.errors import UserError

IMAGE_KEYS = ("image", "image_path", "uri", "path", "id", "images")
"""Fields that may name the image; of several that a record has, the first here counts."""

_RESPONSES = ("filtered_resps", "resps")
"""Fields of lmms-eval with the answer in a list; `resps` is left out where the other says the same."""

TEXT_KEYS = ("answer", "response", "output", "prediction", "text", "explanation")
"""Fields that may hold the answer. A record has exactly one of them: which of two is meant, nobody can tell."""


class ModelAnswer(BaseModel):
    """A model's answer about one image."""

    model_config = ConfigDict(frozen=True)

    image: str = Field(min_length=1)
    """Names the image, as the file has it; a number is its digits."""
    text: str
    """The whole answer, possibly empty."""
    score: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """P(fake), 0 to 1."""
    logit: float | None = Field(default=None, allow_inf_nan=False)
    """z_fake - z_real, unbounded."""
    label: int | None = Field(default=None, ge=0, le=1)
    """Label of the image: 1 real, 0 fake."""
    document: int | None = Field(default=None, ge=0)
    """Position of the image's record in the file that was judged, from 0, where that is all that names it."""
    question: str = ""
    """What the model was asked, where the file says it."""
    reference: str = ""
    """What a good answer says, where the file says it."""

    @field_validator("image", mode="before")
    @classmethod
    def _digits(cls, image: object) -> object:
        return str(image) if type(image) is int else image

    @field_validator("image", "text")
    @classmethod
    def _whole_characters(cls, text: str) -> str:
        if SURROGATE.search(text):
            raise ValueError("holds half of a surrogate pair")
        return text

    @field_validator("score", "logit", "label", mode="before")
    @classmethod
    def _no_truth_value(cls, value: object) -> object:
        if isinstance(value, bool):  # who writes true may mean fake
            raise ValueError("must be a number, not true or false")
        return value


def read_answers(path: Path) -> tuple[ModelAnswer, ...]:
    """The answers in a .csv, .json, .jsonl or .parquet file, in its order; other fields are dropped.

    A JSON file holds a list of records, or one object with the answers by image. The first line of a CSV file names
    the fields, commas separate them, and an empty cell is a missing value, or an empty answer. Raises UserError for a
    file that cannot be read or holds no answers, and for all malformed records and second answers to an image at once.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise UserError(f"answers: {path} is not named {', '.join(sorted(_READERS))}")
    answers: list[ModelAnswer] = []
    numbers: dict[tuple[str, str], int | None] = {}
    problems: list[DatasetProblem] = []
    for number, item in read(_bytes(path)):
        answer = _answer(item)
        key = (answer.image, answer.question) if isinstance(answer, ModelAnswer) else ("", "")
        if key in numbers:
            answer = Fault(f"is answered in record {numbers[key]} already")
        if isinstance(answer, Fault):
            kind = ProblemKind.FILE if number is None else ProblemKind.RECORD
            problems.append(DatasetProblem(kind, answer.message, path.name, number, _image(item)))
        else:
            answers.append(answer)
            numbers[key] = number
    if problems:
        more = f"; and {len(problems) - 1:,} more" if len(problems) > 1 else ""
        raise UserError(f"answers: {problems[0]}{more}")
    if not answers:
        raise UserError(f"answers: {path} holds no answers")
    return tuple(answers)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"answers: {path} does not exist") from None
    except OSError as error:
        raise UserError(f"answers: {path} cannot be read: {error.strerror}") from None


def _answer(item: Any) -> ModelAnswer | Fault:
    if isinstance(item, Fault):
        return item
    if not isinstance(item, dict):
        return Fault(f"is {_shown(item)}, not an object with fields")
    fields = {name: value for name, value in item.items() if value is not None}
    twice = next((value for value in fields.values() if isinstance(value, Fault)), None)
    if twice is not None:
        return twice
    if "doc_id" in fields and any(key in fields for key in _RESPONSES):
        return _logged_sample(fields)
    texts = [key for key in TEXT_KEYS if key in fields]
    if not texts:
        return Fault(f"has no answer: none of {', '.join(TEXT_KEYS)}")
    if len(texts) > 1:
        return Fault(f"has several answers: keep one of {', '.join(texts)}")
    images = [key for key in IMAGE_KEYS if key in fields]
    if not images:
        return Fault(f"names no image: none of {', '.join(IMAGE_KEYS)}")
    image = fields[images[0]]
    more: dict[str, Any] = {"document": None, "question": "", "reference": ""}
    if "messages" in fields or images[0] == "images":  # ms-swift's
        image = _only_path(image)
        if isinstance(image, Fault):
            return image
        labels = fields.get("labels")
        labels = labels if labels is not None else fields.get("solution")  # what a reward is told
        more |= {"question": _asked(fields.get("messages")), "reference": labels if isinstance(labels, str) else ""}
    return _model_answer({**fields, **more, "image": image, "text": fields[texts[0]]}, images[0], texts[0])


def _logged_sample(fields: dict[str, Any]) -> ModelAnswer | Fault:
    """A line of lmms-eval. It names no image, only the position of its record, unless the task keeps more of it."""
    key = next(key for key in _RESPONSES if key in fields)
    text = fields[key]
    while isinstance(text, list) and len(text) == 1:
        text = text[0]
    if isinstance(text, list):
        return Fault(f"has {len(text)} answers under {key}, not one")
    record = fields.get("doc")
    named = (record.get(name) for name in IMAGE_KEYS if name != "id") if isinstance(record, dict) else ()
    image = next((value for value in named if isinstance(value, str) and value), None)
    question, target = fields.get("input", fields.get("arguments")), fields.get("target")
    while isinstance(question, list) and question:  # what the model was given, of which the first is the prompt
        question = question[0]
    answer = {
        "image": image or f"doc_id {fields['doc_id']}",
        "text": text,
        "document": None if image else fields["doc_id"],
        "question": question if isinstance(question, str) else "",
        "reference": target if isinstance(target, str) else "",
        "label": fields.get("label"),
    }
    return _model_answer(answer, "doc_id", key)


def _model_answer(fields: dict[str, Any], image: str, text: str) -> ModelAnswer | Fault:
    """The answer of these fields; `image` and `text` are what the file calls the two."""
    try:
        return ModelAnswer.model_validate(fields)
    except ValidationError as error:
        names = {"image": image, "text": text, "document": "doc_id"}
        return Fault("; ".join(_describe(dict(field), names) for field in error.errors(include_url=False)))


def _only_path(images: Any) -> Any:
    """The one path among `images`, which ms-swift writes as texts or as `{"bytes": null, "path": …}`."""
    listed = images if isinstance(images, list) else [images]
    if len(listed) != 1:
        return Fault(f"names {len(listed)} images, not one")
    path = listed[0].get("path") if isinstance(listed[0], dict) else listed[0]
    return path if path else Fault("names no image: its images have no path")


def _asked(messages: Any) -> str:
    """The last question in a list of messages; empty where there is none."""
    said = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    return next((str(one["content"]) for one in reversed(said) if one.get("role") == "user" and "content" in one), "")


def _describe(error: dict[str, Any], names: dict[str, str]) -> str:
    field = str(error["loc"][0])
    return f"{names.get(field, field)}: {error['msg']} (got {_shown(error['input'])})"


def _shown(value: object) -> str:
    return repr(value)[:60]


def _image(item: Any) -> str | None:
    values = [item[key] for key in IMAGE_KEYS if item.get(key) is not None] if isinstance(item, dict) else []
    return values[0] if values and isinstance(values[0], str) else None


def _json_items(data: bytes) -> Items:
    """The items of a JSON list, or an item for each field of a JSON object."""
    pairs = object_pairs(data)
    if not isinstance(pairs, list):
        yield from json_items(data)
    elif isinstance(dict(pairs).get("logs"), list) and "model_configs" in dict(pairs):
        # An earlier lmms-eval: all samples of a task below its settings. Every object in it is a list of pairs here.
        yield from enumerate(json.loads(data.decode("utf-8-sig"))["logs"], start=1)
    elif any(name in IMAGE_KEYS for name, _ in pairs) and any(name in TEXT_KEYS for name, _ in pairs):
        yield None, Fault("holds one record, not a list; a file with one record on each line must be named .jsonl")
    else:
        for number, (image, text) in enumerate(pairs, start=1):
            yield number, {"image": image, "answer": text}


def _csv_items(data: bytes) -> Items:
    """The rows of a CSV file, without the first, as dictionaries; an empty cell is an absent field or an empty text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield None, Fault(f"is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}")
        return
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey=_EXTRA, strict=True)
    number = 0
    try:
        if len(names := rows.fieldnames or []) > len(set(names)):
            yield None, Fault("gives two columns the same name")
            return
        for row in rows:
            number += 1
            if _EXTRA in row or None in row.values():
                yield number, Fault("has more or fewer cells than the first line; quote what holds a comma")
            else:
                yield number, {name: cell for name, cell in row.items() if cell or name in TEXT_KEYS}
    except csv.Error as error:
        yield number + 1, Fault(f"is not CSV: {error}; nothing from here on was read")


_EXTRA = "\0"
"""Key of surplus cells in the CSV reader; not a name that a field can have."""

_READERS: dict[str, Callable[[bytes], Items]] = {**READERS, ".json": _json_items, ".csv": _csv_items}
