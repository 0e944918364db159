"""Makes FakeClue's records of other trainers' files, without changing what they say unless it is counted and told."""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from pydantic import ValidationError

from fakevlm.data.dataset import RECORD_FORMATS, Dataset, open_dataset
from fakevlm.data.formats.chat import renamed
from fakevlm.data.formats.embedded import EmbeddedImage, ImageParquet
from fakevlm.data.formats.imported import ImportSettings, imported_record, label_key
from fakevlm.data.paths import (
    LIST_FOLDER,
    ROOT_FILE,
    below,
    extension,
    file_names,
    folder_names,
    image_root,
    is_absolute,
    is_local,
    read_records_file,
)
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.readers import READERS, Fault, Items
from fakevlm.data.record import CATEGORIES, FAKE, REAL, Record
from fakevlm.errors import UserError, one_line

AUTO = "auto"
"""The form that is told from the fields: LLaVA's, LlamaFactory's, ms-swift's, or a Parquet file with images inside."""

_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(?:-[0-9a-f]{16})?")
"""One of several files of a set, as `datasets` names them; older ones end with a hash."""
_NUMBERED_SHARD = re.compile(r"\d{4,5}")
"""One of several files in a folder named after the set, as the hub converts them to Parquet."""


class _Made(NamedTuple):
    """A record as it will be, but for the path of its image."""

    number: int | None
    file: str
    image: str | EmbeddedImage
    fields: dict[str, Any]


@dataclass
class ImportedData:
    """The records of the files, and what was done to them."""

    dataset: Dataset
    """The records, with images below its root."""
    notes: Counter[str] = field(default_factory=Counter)
    """What was added or left out, and how often."""
    embedded: dict[str, dict[int, str]] = field(default_factory=dict)
    """Paths that the images inside a file get below the root, by file and row."""


def source_files(fs: AbstractFileSystem, path: str, split: str | None = None) -> list[str]:
    """The files of `path`: itself, or all files of one set in a folder; of several sets that of `split`.

    Raises UserError.
    """
    if extension(path) in READERS:
        return [path]
    names = _record_files(fs, path)
    files = [posixpath.join(path, name) for name in names]
    splits = {split_of(file) for file in files}
    if len(splits) > 1 and split not in splits:
        raise UserError(f"data: {path} holds {', '.join(sorted(splits))}; choose one with --split, or name its file")
    if not names:
        inner = [name for name in folder_names(fs, path) if _record_files(fs, posixpath.join(path, name))]
        told = f"; name its folder {' or '.join(inner[:3])}" if inner else ""
        raise UserError(
            f"data: {path} is neither a file of records ({', '.join(READERS)}) nor a folder with some{told}"
        )
    return [file for file in files if len(splits) == 1 or split_of(file) == split]


def _record_files(fs: AbstractFileSystem, folder: str) -> list[str]:
    """Names of the files of records directly in a folder."""
    return [name for name in file_names(fs, folder) if extension(name) in READERS and name != "dataset_info.json"]


def split_of(file: str) -> str:
    """The name of the split that a file holds.

    It is `train` for `train.json`, `train-00000-of-00002.parquet` and `train/0000.parquet`.
    """
    stem = posixpath.splitext(posixpath.basename(file))[0]
    match = _SHARD.fullmatch(stem)
    if match is None and _NUMBERED_SHARD.fullmatch(stem):
        return posixpath.basename(posixpath.dirname(file)) or stem
    return match["split"] if match else stem


def _is_shard(name: str) -> bool:
    """Whether a file may be one of several of a set."""
    stem = posixpath.splitext(name)[0]
    return bool(_SHARD.fullmatch(stem) or _NUMBERED_SHARD.fullmatch(stem))


def read_source(
    fs: AbstractFileSystem,
    path: str,
    record_format: str,
    settings: ImportSettings,
    *,
    target: str,
    images_below: str,
    split: str | None = None,
) -> ImportedData:
    """All records of a file, or of the files of a folder, of several sets those of `split`.

    What cannot be a record becomes a fault of the dataset.

    Images inside a file get a path below `target`, the folder of the dataset to be made, and `images_below`, such as
    `images/train`. Raises UserError when a file cannot be read at all.
    """
    notes: Counter[str] = Counter()
    faults: list[DatasetProblem] = []
    made: list[_Made] = []
    if record_format in RECORD_FORMATS:
        published = open_dataset(
            path, fs, record_format=record_format, strict=False, image_folder=settings.image_folder
        )
        if RECORD_FORMATS[record_format].is_joined:  # its frames are found below that folder
            settings = replace(settings, image_folder=published.root)
        settings = replace(settings, labels={"0": FAKE, "1": REAL, **settings.labels})
        sources = [(published.path, _published(published))]
    elif record_format == AUTO:
        sources = [(file, _rows(fs, file)) for file in source_files(fs, path, split)]
    else:
        raise UserError(f"format: {record_format!r} is not one of {', '.join((AUTO, *RECORD_FORMATS))}")
    for file, rows in sources:
        name = posixpath.basename(file)
        for number, item in rows:
            if not isinstance(item, dict):
                message = (
                    item.message if isinstance(item, Fault) else f"is {repr(item)[:60]}, not an object with fields"
                )
                kind = ProblemKind.FILE if number is None else ProblemKind.RECORD
                faults.append(
                    DatasetProblem(kind, message, name, number, item.image if isinstance(item, Fault) else None)
                )
                continue
            try:
                image, fields = imported_record(item, settings.labels, settings, notes)
            except ValueError as error:
                faults.append(DatasetProblem(ProblemKind.RECORD, one_line(error), name, number))
                continue
            made.append(_Made(number, name, image, fields))
    inside = any(isinstance(one.image, EmbeddedImage) for one in made)
    root, paths = _paths(fs, sources[0][0], [one.image for one in made if isinstance(one.image, str)], settings)
    return _placed(fs, sources[0][0], made, faults, notes, target if inside else root, paths, images_below)


def records_json(records: tuple[Record, ...]) -> bytes:
    """The records as FakeClue's file has them."""
    lines = (json.dumps(record.to_json()) for record in records)
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def list_files(data: ImportedData, folder: str, split: str) -> dict[str, bytes]:
    """Path and contents of the files of records; to be written in this order, after the images."""
    place = posixpath.join(folder, LIST_FOLDER)
    root = data.dataset.root
    files = {posixpath.join(place, ROOT_FILE): f"{root}\n".encode()} if root != folder else {}
    return {**files, posixpath.join(place, f"{split}.json"): records_json(data.dataset.records)}


def check_target(fs: AbstractFileSystem, data: ImportedData, folder: str, split: str) -> None:
    """Raises UserError where the folder holds other records, or the same split with other contents."""
    place = posixpath.join(folder, LIST_FOLDER)
    present = set(file_names(fs, place))
    if present and image_root(fs, posixpath.join(place, ROOT_FILE)) != data.dataset.root:
        raise UserError(f"output: {place} holds records of images in another folder; choose a new one")
    for path, contents in list_files(data, folder, split).items():
        if posixpath.basename(path) in present and bytes(fs.cat_file(path)) != contents:
            raise UserError(f"output: {path} exists and is another; remove it, or choose another folder or --split")


def embedded_images(
    fs: AbstractFileSystem, path: str, data: ImportedData, split: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Path below the root, and bytes, of each image inside the files of `path`, of several sets those of `split`."""
    for file in source_files(fs, path, split):
        names = data.embedded.get(posixpath.basename(file), {})
        if not names:
            continue
        for row, contents in ImageParquet(fs, file).images():
            if row in names:
                yield names[row], contents


def _rows(fs: AbstractFileSystem, file: str) -> Items:
    """Number and fields of each item, labels by their names where the file has names for them."""
    if extension(file) == ".parquet":
        parquet = ImageParquet(fs, file)
        names = {str(number): name for number, name in enumerate(parquet.label_names)}
        for number, row in parquet.rows():
            if isinstance(row, dict) and (key := label_key(row)) is not None and str(row[key]) in names:
                row = {**row, key: names[str(row[key])]}
            yield number, row
        return
    description = _description(fs, file)
    for place, item in READERS[extension(file)](read_records_file(fs, file)):
        yield place, renamed(item, description) if isinstance(item, dict) and description else item


def _description(fs: AbstractFileSystem, file: str) -> Mapping[str, Any]:
    """What LlamaFactory's `dataset_info.json` beside a file, or beside its folder, says of it; empty without one."""
    folder, name = posixpath.split(file)
    above, folder_name = posixpath.split(folder)
    for place, called in ((folder, name), (above, f"{folder_name}/{name}")):
        known = _json_object(fs, posixpath.join(place, "dataset_info.json"))
        for one in known.values():
            if isinstance(one, dict) and one.get("file_name") == called:
                return one
    return {}


def _json_object(fs: AbstractFileSystem, path: str) -> Mapping[str, Any]:
    """The object in a JSON file; empty where there is none, or no object in it. Raises UserError."""
    try:
        known = json.loads(bytes(fs.cat_file(path)).decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"data: {path} cannot be read: {one_line(error)}") from None
    return known if isinstance(known, dict) else {}


def _published(dataset: Dataset) -> Items:
    """The records of a benchmark, in FakeClue's fields."""
    for fault in dataset.faults:
        yield fault.number, Fault(fault.message, fault.image)
    for number, record in zip(dataset.numbers, dataset.records, strict=True):
        yield number, {name: value for name, value in record.to_json().items() if value not in (None, [])}


def _placed(
    fs: AbstractFileSystem,
    file: str,
    made: list[_Made],
    faults: list[DatasetProblem],
    notes: Counter[str],
    root: str,
    paths: Mapping[str, str],
    images_below: str,
) -> ImportedData:
    """The records with their images' paths below one root."""
    embedded: dict[str, dict[int, str]] = {}
    records: list[Record] = []
    numbers: list[int] = []
    for one in made:
        if isinstance(one.image, EmbeddedImage):
            stem = posixpath.splitext(one.file)[0]
            below_split = f"{images_below}/{stem}" if _is_shard(one.file) else images_below
            image = f"{below_split}/{one.image.row:08d}.{one.image.extension}"
            embedded.setdefault(one.file, {})[one.image.row] = image
        else:
            image = paths[one.image]
        try:
            records.append(Record.model_validate({"image": image, **one.fields}))
            numbers.append(one.number or 0)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            message = f"{where}: {first['msg']} (got {repr(first['input'])[:60]})"
            faults.append(DatasetProblem(ProblemKind.RECORD, message, one.file, one.number, image))
    if embedded and paths:
        message = "holds images and paths of images; leave one of the two"
        faults.append(DatasetProblem(ProblemKind.FILE, message, posixpath.basename(file)))
    if not records and not faults:
        faults.append(DatasetProblem(ProblemKind.FILE, "holds no records", posixpath.basename(file)))
    dataset = Dataset(file, tuple(records), tuple(numbers), tuple(faults), fs, root, CATEGORIES)
    return ImportedData(dataset, +notes, embedded)


def _paths(
    fs: AbstractFileSystem, file: str, images: list[str], settings: ImportSettings
) -> tuple[str, dict[str, str]]:
    """The root, and for each image as the file names it the path below that.

    Where paths of this machine lead out of the folder that they count from, their longest common folder is the root.
    """
    named: dict[str, str] = {}
    for image in dict.fromkeys(images):
        stripped = None if settings.image_root is None else below(image, settings.image_root)
        named[image] = _plain(image if stripped is None else stripped)
    folder = settings.image_folder or image_root(fs, file)
    # An address stays as it is: it is none of a file, which the checks say.
    paths = {image: path for image, path in named.items() if "://" not in path}
    whole = {image: posixpath.normpath(posixpath.join(folder, path)) for image, path in paths.items()}
    outside = any(below(path, folder) is None for path in whole.values())
    if outside and settings.image_folder is None and is_local(fs):
        folder = posixpath.commonpath([posixpath.dirname(path) for path in whole.values()])
    return folder, named | {image: below(path, folder) or named[image] for image, path in whole.items()}


def _plain(path: str) -> str:
    """A path with `/` between its parts and without `.` and `..` where they lead nowhere else."""
    if "\\" in path and "/" not in path and not is_absolute(path):
        path = path.replace("\\", "/")
    return posixpath.normpath(path) if "://" not in path and path else path
