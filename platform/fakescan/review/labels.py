"""Labels that people gave images: JSONL files, keyed by the SHA-256 of the image, so that they outlast a rescan.

labels = read_labels(["audit/labels"], Store())
labels.of_image["8f43…"].label
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from fakescan.settings.strict_model import StrictModel
from fakescan.storage.objects import list_names, read_bytes
from fakescan.storage.preflight import check_readable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError, one_line

LabelWord = Literal["real", "fake", "unsure"]


class Label(StrictModel):
    """One line of a label file: what one reviewer said of one image."""

    model_config = ConfigDict(strict=True)

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the image's bytes."""
    label: LabelWord
    reviewer: Annotated[str, Field(max_length=200, pattern=r"\S")]
    row_id: Annotated[int | None, Field(ge=0)] = None
    """The image's row in the run that was reviewed; labels are joined by `sha256`."""
    seconds: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    """How long the reviewer looked."""
    at: datetime | None = None
    """When; with a time zone."""
    seen_score: bool | None = None
    """Whether the reviewer had seen verdict or score before."""
    second_look: bool | None = None
    """For the design `qa`: true where this reviewer had labelled the image before. Such a label tells only whether
    reviewers agree with themselves, and the first one counts."""
    note: Annotated[str | None, Field(max_length=2000)] = None
    """What the reviewer wrote beside it."""


@dataclass(frozen=True)
class ImageLabels:
    """What reviewers said of one image, the last word of each."""

    by_reviewer: dict[str, Label]

    @property
    def label(self) -> LabelWord:
        """What most of those say who are sure; `unsure` where nobody is, or as many say the one as the other."""
        words = Counter(label.label for label in self.by_reviewer.values())
        if words["fake"] == words["real"]:
            return "unsure"
        return "fake" if words["fake"] > words["real"] else "real"

    @property
    def is_disputed(self) -> bool:
        """Whether one says real and another one fake."""
        return {"real", "fake"} <= {label.label for label in self.by_reviewer.values()}


@dataclass
class Labels:
    """All labels of some files."""

    of_image: dict[str, ImageLabels] = field(default_factory=dict)
    """By the image's SHA-256."""
    second_looks: dict[tuple[str, str], Label] = field(default_factory=dict)
    """What reviewers said when they looked again, by the image's SHA-256 and the reviewer."""
    changed: int = 0
    """Labels that the same reviewer replaced later."""
    files: int = 0

    @property
    def reviewers(self) -> list[str]:
        """Names of all reviewers, sorted."""
        return sorted({name for image in self.of_image.values() for name in image.by_reviewer})

    def add(self, label: Label) -> None:
        """Take a label; it replaces what the same reviewer said before, at the same look."""
        key = label.sha256, label.reviewer
        if label.second_look:
            if self._is_later(label, self.second_looks.get(key)):
                self.second_looks[key] = label
            return
        image = self.of_image.setdefault(label.sha256, ImageLabels({}))
        if self._is_later(label, image.by_reviewer.get(label.reviewer)):
            image.by_reviewer[label.reviewer] = label

    def _is_later(self, label: Label, before: Label | None) -> bool:
        """Whether a label replaces another one: files are read in the order of their names, which need not be that of
        time."""
        if before is None:
            return True
        self.changed += 1
        return before.at is None or label.at is None or label.at >= before.at


def read_labels(places: Sequence[str], store: Store) -> Labels:
    """The labels of files, and of all *.jsonl files in folders. Raises UserError that names the first bad line."""
    labels = Labels()
    for place in places:
        files = list(_files(place, store))
        if not files:
            raise UserError(f"labels: {redact(place)} holds no .jsonl file")
        for name, data in files:
            labels.files += 1
            for label in parse_labels(data, name):
                labels.add(label)
    return labels


def parse_labels(data: bytes, name: str) -> Iterator[Label]:
    """The labels of a file's bytes; `name` is for errors. Empty lines are skipped."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            try:
                yield _parsed(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"labels: line {number} of {name} {_words(error)}; correct or remove it") from None


def _parsed(line: bytes) -> Label:
    label = Label.model_validate_json(line)
    if label.at is not None and label.at.tzinfo is None:
        raise ValueError("has an `at` without a time zone")
    json.loads(line, object_pairs_hook=_unique)
    return label


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"has {name!r} twice")
    return found


def _words(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return one_line(error) if isinstance(error, ValueError) else "is nested too deeply"
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"is not JSON ({one_line(first['ctx']['error'])})"
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"has no {where!r}"
    if first["type"] == "extra_forbidden":
        return f"has the unknown field {where!r}"
    if not where:
        return "is no object with a label"
    given = first["input"]
    shown = json.dumps(given)[:60] if isinstance(given, str | int | float | bool | None) else type(given).__name__
    return f"has a wrong {where!r}: {first['msg'][0].lower()}{first['msg'][1:]} (got {shown})"


def _files(place: str, store: Store) -> Iterator[tuple[str, bytes]]:
    """Name and contents of a file, or of the label files of a folder."""
    check_readable(place, store)
    fs, path = store.filesystem(place)
    if fs.isfile(path):
        yield redact(place), read_bytes(fs, path)
        return
    for name, _ in list_names(fs, path):
        if name.endswith(".jsonl") and not name.startswith("."):
            yield f"{redact(place).rstrip('/')}/{name}", read_bytes(fs, f"{path.rstrip('/')}/{name}")
