"""Finds image files with the same bytes under different names, in one split and across splits."""

import hashlib
import posixpath
from typing import NamedTuple

from fakevlm.data.dataset import Dataset
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.record import Record


class _First(NamedTuple):
    """Where some bytes were first."""

    file: str
    number: int
    record: Record


class ImageContents:
    """The image files that were read so far, by their bytes. Names that are the same are left to `check_records`."""

    def __init__(self) -> None:
        self._first: dict[bytes, _First] = {}

    def add(self, digest: bytes, dataset: Dataset, number: int, record: Record) -> DatasetProblem | None:
        """Notes the file of a record by `content_digest`; a warning if another file has the same bytes."""
        first = self._first.setdefault(digest, _First(dataset.name, number, record))
        if first.record is record or posixpath.normpath(first.record.image) == posixpath.normpath(record.image):
            return None
        message = f"has the bytes of {first.record.image}, {first.file} record {first.number}"
        if first.record.label != record.label:
            message += f", whose label is {first.record.label}, not {record.label}"
        elif first.file != dataset.name:
            message += ", in another split"
        return DatasetProblem(ProblemKind.CONTENT, message, dataset.name, number, record.image)


def content_digest(data: bytes) -> bytes:
    """What stands for the bytes of a file."""
    return hashlib.sha256(data).digest()
