"""Labelled images: FakeClue as published and the same records in JSONL or Parquet, on a disk or in object storage."""

import gc
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from pydantic import ValidationError

from fakevlm.data.benchmarks import LOKI_CATEGORIES, dd_vqa_record, loki_record
from fakevlm.data.paths import (
    extension,
    image_root,
    is_local,
    open_place,
    path_fault,
    read_records_file,
    records_file,
    splits_in,
)
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.readers import READERS, Fault
from fakevlm.data.record import CATEGORIES, Record
from fakevlm.errors import ErrorCode, ImageError, UserError, one_line, remote_errors


class RecordFormat(NamedTuple):
    """How records of one origin become FakeClue's."""

    convert: Callable[[dict[str, Any]], dict[str, Any]]
    """From an item of the file to FakeClue's fields. Raises ValueError with what is missing."""
    categories: tuple[str, ...]
    """The categories that its records may have."""


RECORD_FORMATS = {
    "fakeclue": RecordFormat(lambda item: item, CATEGORIES),
    "loki": RecordFormat(loki_record, LOKI_CATEGORIES),
    "dd-vqa": RecordFormat(dd_vqa_record, CATEGORIES),
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """The records of one file and the place of their images."""

    path: str
    """Path of the file in `fs`."""
    records: tuple[Record, ...]
    """All that can be read, in the order of the file."""
    numbers: tuple[int, ...]
    """Position of each record in the file, from 1; the line in JSONL."""
    faults: tuple[DatasetProblem, ...]
    """Problems of what cannot be read; empty unless the dataset was opened for checking."""
    fs: AbstractFileSystem
    root: str
    """The path in `fs` from which image paths count."""
    categories: tuple[str, ...]
    """Values that `cate` may have."""

    @property
    def name(self) -> str:
        """The name of the file."""
        return posixpath.basename(self.path)

    @property
    def split(self) -> str:
        """The name of the file without its extension, such as `train`."""
        return posixpath.splitext(self.name)[0]

    def image_path(self, record: Record) -> str:
        """The path of a record's image in `fs`. Raises UserError when it would leave the dataset's folder."""
        fault = path_fault(record.image)
        if fault is not None:
            raise UserError(f"image {record.image!r}: {fault}; find all such with fakescan data validate")
        return posixpath.join(self.root, posixpath.normpath(record.image))

    def read_image(self, record: Record) -> bytes:
        """The bytes of a record's image file; threads may call it. Raises ImageError, or UserError for a bad path."""
        path = self.image_path(record)
        try:
            return Path(path).read_bytes() if is_local(self.fs) else bytes(self.fs.cat_file(path))
        except FileNotFoundError:
            raise ImageError(ErrorCode.NOT_FOUND, f"there is no file {path}") from None
        except PermissionError:
            raise ImageError(ErrorCode.DENIED, f"{path} may not be read") from None
        except remote_errors() as error:
            raise ImageError(ErrorCode.FETCH_FAILED, f"{path}: {one_line(error)}") from None


def open_dataset(
    location: str | Path,
    fs: AbstractFileSystem | None = None,
    *,
    split: str | None = None,
    record_format: str = "fakeclue",
    strict: bool = True,
) -> Dataset:
    """Reads the records at `location`: a .json, .jsonl or .parquet file, or a dataset folder together with a split.

    `location` is a path in `fs`; without `fs` a local path or any URL that fsspec opens without options. Every record
    is held in memory, about 3 KB each; no image is touched. Raises UserError when the place cannot be read, or a record
    in it; with `strict` False such records become `faults` of the dataset.
    """
    fs, path = open_place(location, fs)
    path = records_file(fs, path, split)
    chosen = RECORD_FORMATS.get(record_format)
    if chosen is None:
        raise UserError(f"format: {record_format!r} is not one of {', '.join(RECORD_FORMATS)}")
    records: list[Record] = []
    numbers: list[int] = []
    faults: list[DatasetProblem] = []
    with _without_gc():
        for number, result in _read(read_records_file(fs, path), path, chosen):
            if isinstance(result, Record):
                records.append(result)
                numbers.append(number or 0)
            else:
                faults.append(result)
    if not records and not faults:
        faults.append(DatasetProblem(ProblemKind.FILE, "holds no records", posixpath.basename(path)))
    if strict and faults:
        more = f"; and {len(faults) - 1:,} more, see fakescan data validate" if len(faults) > 1 else ""
        raise UserError(f"data: {faults[0]}{more}")
    root = image_root(fs, path)
    return Dataset(path, tuple(records), tuple(numbers), tuple(faults), fs, root, chosen.categories)


def split_names(location: str | Path, fs: AbstractFileSystem | None = None) -> list[str]:
    """The splits of a dataset folder, sorted; empty for a file. Raises UserError when there is no such place."""
    fs, path = open_place(location, fs)
    return [] if extension(path) in READERS else sorted(splits_in(fs, path))


@contextmanager
def _without_gc() -> Iterator[None]:
    """No search for cycles meanwhile: a hundred thousand records hold none, and looking takes longer than reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(data: bytes, path: str, chosen: RecordFormat) -> Iterator[tuple[int | None, Record | DatasetProblem]]:
    """Each record, or why it is not one."""
    name = posixpath.basename(path)
    for number, item in READERS[extension(path)](data):
        if isinstance(item, dict):
            yield number, _record(item, name, number, chosen)
        else:
            kind = ProblemKind.FILE if number is None else ProblemKind.RECORD
            message = item.message if isinstance(item, Fault) else f"is {repr(item)[:60]}, not an object with fields"
            yield number, DatasetProblem(kind, message, name, number)


def _record(item: dict[str, Any], name: str, number: int | None, chosen: RecordFormat) -> Record | DatasetProblem:
    image = item["image"] if isinstance(item.get("image"), str) else None
    try:
        return Record.model_validate(chosen.convert(item))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        talk = all(field["loc"][:1] == ("conversations",) for field in errors)
        kind = ProblemKind.CONVERSATION if talk else ProblemKind.RECORD
        return DatasetProblem(kind, "; ".join(_describe(dict(field)) for field in errors[:4]), name, number, image)
    except ValueError as error:
        return DatasetProblem(ProblemKind.RECORD, one_line(error), name, number, image)


def _describe(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {error['msg']} (got {repr(error['input'])[:60]})"
