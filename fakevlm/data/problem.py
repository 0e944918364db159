"""What can be wrong with a dataset: a closed list of kinds, and one finding with its place."""

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """What is wrong, or to be known before training. The text is what a person reads as a heading."""

    FILE = "unreadable file"
    RECORD = "malformed record"
    CONVERSATION = "broken conversation"
    OPENING = "answer does not begin as the prompt needs"
    LABEL = "answer contradicts the label"
    UNCERTAIN = "answer says neither real nor fake"
    LENGTH = "sample is too long"
    CATEGORY = "unknown category"
    PATH = "image path leaves the dataset"
    SIZE = "wrong width or height"
    CONFLICT = "one image with both labels"
    LEAK = "one source in several splits"
    MISSING = "missing image"
    EMPTY = "empty image file"
    IMAGE = "image cannot be decoded"
    DUPLICATE = "image in several records"
    CONTENT = "image file with the bytes of another"
    TURNS = "later turns, which training leaves out"
    QUESTION = "another question, in place of which training asks the prompt's"

    @property
    def is_warning(self) -> bool:
        """Whether training takes such a record all the same, and says so."""
        return self in (ProblemKind.DUPLICATE, ProblemKind.CONTENT, ProblemKind.TURNS, ProblemKind.QUESTION)


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """One finding."""

    kind: ProblemKind
    message: str
    """What is wrong, on one line."""
    file: str
    """Name of the file that holds the record."""
    number: int | None = None
    """Number of the record, from 1; in JSONL that of the line. None where the whole file is meant."""
    image: str | None = None
    """The record's image path as far as it is known."""

    def __str__(self) -> str:
        where = self.file if self.number is None else f"{self.file} record {self.number}"
        text = f"{where} ({self.image}): {self.message}" if self.image is not None else f"{where}: {self.message}"
        # A path or a value of the file may hold anything; a finding is one line that any terminal and file takes.
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
