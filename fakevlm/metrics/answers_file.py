"""A file of answers that any model gave to images: JSONL, a JSON list or object, CSV or Parquet."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.readers import READERS, SURROGATE, Fault, Items, json_items
from fakevlm.errors import UserError

IMAGE_KEYS = ("image", "image_path", "uri", "path", "id")
"""Fields that may name the image; of several that a record has, the first here counts."""

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
    numbers: dict[str, int | None] = {}
    problems: list[DatasetProblem] = []
    for number, item in read(_bytes(path)):
        answer = _answer(item)
        if isinstance(answer, ModelAnswer) and answer.image in numbers:
            answer = Fault(f"is answered in record {numbers[answer.image]} already")
        if isinstance(answer, Fault):
            kind = ProblemKind.FILE if number is None else ProblemKind.RECORD
            problems.append(DatasetProblem(kind, answer.message, path.name, number, _image(item)))
        else:
            answers.append(answer)
            numbers[answer.image] = number
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
    texts = [key for key in TEXT_KEYS if key in fields]
    if not texts:
        return Fault(f"has no answer: none of {', '.join(TEXT_KEYS)}")
    if len(texts) > 1:
        return Fault(f"has several answers: keep one of {', '.join(texts)}")
    images = [key for key in IMAGE_KEYS if key in fields]
    if not images:
        return Fault(f"names no image: none of {', '.join(IMAGE_KEYS)}")
    try:
        return ModelAnswer.model_validate({**fields, "image": fields[images[0]], "text": fields[texts[0]]})
    except ValidationError as error:
        names = {"image": images[0], "text": texts[0]}
        return Fault("; ".join(_describe(dict(field), names) for field in error.errors(include_url=False)))


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
    pairs = _object_pairs(data)
    if pairs is None:
        yield from json_items(data)
    elif any(name in IMAGE_KEYS for name, _ in pairs) and any(name in TEXT_KEYS for name, _ in pairs):
        yield None, Fault("holds one record, not a list; a file with one record on each line must be named .jsonl")
    else:
        for number, (image, text) in enumerate(pairs, start=1):
            yield number, {"image": image, "answer": text}


def _object_pairs(data: bytes) -> list[tuple[str, Any]] | None:
    """The fields of a JSON object, those of one name too; None for anything else, or what cannot be read."""
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return None  # most files are lists, and too big to be parsed twice
    try:
        pairs: list[tuple[str, Any]] = json.loads(data.decode("utf-8-sig"), object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    return pairs


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
