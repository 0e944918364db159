"""Labelled images: FakeClue as published and the same records in JSONL or Parquet, on a disk or in object storage."""

import gc
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from pydantic import ValidationError

from fakevlm.data.formats.dd_vqa import dd_vqa_records
from fakevlm.data.formats.loki import LOKI_CATEGORIES, loki_records
from fakevlm.data.formats.record_format import Place, RecordFormat, plain
from fakevlm.data.paths import (
    below,
    extension,
    image_root,
    is_local,
    nested_files,
    open_place,
    path_fault,
    read_records_file,
    records_file,
    splits_in,
)
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.readers import READERS, Fault, Items, object_pairs
from fakevlm.data.record import CATEGORIES, Record
from fakevlm.errors import ErrorCode, ImageError, UserError, one_line, remote_errors

RECORD_FORMATS = {
    "fakeclue": RecordFormat(plain, CATEGORIES, is_trainable=True),
    "loki": RecordFormat(loki_records, LOKI_CATEGORIES),
    "dd-vqa": RecordFormat(dd_vqa_records, CATEGORIES, is_object=True, is_joined=True),
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
    is_trainable: bool = True
    """Whether training can read it; what is only evaluated on need not say anything about an image but its label."""

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
    image_root: str | None = None,
    image_folder: str | None = None,
) -> Dataset:
    """Reads the records at `location`: a .json, .jsonl or .parquet file, or a dataset folder together with a split.

    `location` is a path in `fs`; without `fs` a local path or any URL that fsspec opens without options. Image paths
    lose `image_root`, which they begin with; what is left counts from `image_folder`, a path in the same store, by
    default from the dataset's own root. Every record is held in memory, about 3 KB each; no image is touched,
    and folders are listed only for DD-VQA. Raises UserError when the place cannot be read, or a record in it; with
    `strict` False such records become `faults` of the dataset.
    """
    fs, path = open_place(location, fs)
    chosen = RECORD_FORMATS.get(record_format)
    if chosen is None:
        raise UserError(f"format: {record_format!r} is not one of {', '.join(RECORD_FORMATS)}")
    files = nested_files(fs, path) if chosen.is_joined and split is None else []
    files = files or [records_file(fs, path, split)]
    root = _images_at(fs, files[0] if len(files) == 1 else posixpath.join(path, "_"), image_folder)
    records: list[Record] = []
    numbers: list[int] = []
    faults: list[DatasetProblem] = []
    with _without_gc():
        for file in files:
            before = numbers[-1] if numbers else 0
            items = _items(read_records_file(fs, file), file, chosen)
            name = posixpath.basename(file)
            for number, result in _read(items, name, chosen, Place(fs, root), image_root):
                if isinstance(result, Record):
                    records.append(result)
                    numbers.append(before + (number or 0))
                else:
                    faults.append(result)
    if not records and not faults:
        faults.append(DatasetProblem(ProblemKind.FILE, "holds no records", posixpath.basename(files[0])))
    if strict and faults:
        more = f"; and {len(faults) - 1:,} more, see fakescan data validate" if len(faults) > 1 else ""
        raise UserError(f"data: {faults[0]}{more}")
    place = files[0] if len(files) == 1 else path
    return Dataset(
        place, tuple(records), tuple(numbers), tuple(faults), fs, root, chosen.categories, chosen.is_trainable
    )


def split_names(location: str | Path, fs: AbstractFileSystem | None = None) -> list[str]:
    """The splits of a dataset folder, sorted; empty for a file, and for DD-VQA's files of one set in several folders.

    Raises UserError when there is no such place.
    """
    fs, path = open_place(location, fs)
    return [] if extension(path) in READERS or nested_files(fs, path) else sorted(splits_in(fs, path))


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


def _images_at(fs: AbstractFileSystem, file: str, folder: str | None) -> str:
    """Where image paths count from."""
    if folder is None:
        return image_root(fs, file)
    return os.path.abspath(os.path.expanduser(folder)) if is_local(fs) else folder.rstrip("/") or "/"


def _items(data: bytes, path: str, chosen: RecordFormat) -> Items:
    """The items of a file; of a JSON object that the format may be, its pairs."""
    pairs = object_pairs(data) if chosen.is_object and extension(path) == ".json" else None
    if pairs is None:
        return READERS[extension(path)](data)
    if isinstance(pairs, Fault):
        return iter([(None, pairs)])
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return iter([(None, Fault(f"has the field {twice!r} twice"))])
    return iter([(number, pair) for number, pair in enumerate(pairs, start=1)])


def _read(
    items: Items, name: str, chosen: RecordFormat, place: Place, prefix: str | None
) -> Iterator[tuple[int | None, Record | DatasetProblem]]:
    """Each record, or why it is not one."""
    for number, item in chosen.convert(items, place):
        fault = item if isinstance(item, Fault) else None
        if isinstance(item, dict):
            fault = next((value for value in item.values() if isinstance(value, Fault)), None)
        if fault is None and isinstance(item, dict):
            yield number, _record(item if prefix is None else _stripped(item, prefix), name, number)
        else:
            kind = ProblemKind.FILE if number is None else ProblemKind.RECORD
            message = fault.message if fault else f"is {repr(item)[:60]}, not an object with fields"
            yield number, DatasetProblem(kind, message, name, number, fault.image if fault else None)


def _stripped(item: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The fields with the image's path below `prefix`; a path that is not below it stays as it is."""
    image = item.get("image")
    rest = below(image, prefix) if isinstance(image, str) else None
    return item if rest is None else {**item, "image": rest}


def _record(item: dict[str, Any], name: str, number: int | None) -> Record | DatasetProblem:
    image = item["image"] if isinstance(item.get("image"), str) else None
    try:
        return Record.model_validate(item)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        talk = all(field["loc"][:1] == ("conversations",) for field in errors)
        kind = ProblemKind.CONVERSATION if talk else ProblemKind.RECORD
        return DatasetProblem(kind, "; ".join(_describe(dict(field)) for field in errors[:4]), name, number, image)


def _describe(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{where} is missing"
    if isinstance(error["input"], Fault):
        return f"{where}: {error['input'].message}"
    return f"{where}: {error['msg']} (got {repr(error['input'])[:60]})"
