"""Where the files of a dataset are: the splits of a folder, and the root from which image paths count."""

import os
import posixpath
import re
from pathlib import Path

from fsspec import AbstractFileSystem

from fakevlm.data.readers import READERS, SURROGATE
from fakevlm.errors import UserError, one_line, remote_errors

LIST_FOLDER = "data_json"
"""The folder of a dataset that holds one file of records per split; image paths count from the folder around it."""
ROOT_FILE = "root.txt"
"""In LIST_FOLDER: one line with the path from which the image paths count instead, in the same store."""


def path_fault(image: str) -> str | None:
    """What keeps `image` from being the path of a file below the dataset's root; None if nothing does."""
    if image.endswith("/") or posixpath.normpath(image) == ".":
        return "names no file"
    if is_absolute(image):
        return "is absolute; paths count from the dataset's root: strip what is before it with --image-root"
    if "\\" in image or "\0" in image or SURROGATE.search(image):
        return "holds a backslash, a NUL or half a surrogate; parts are separated by /"
    if ".." in image.split("/"):
        return "holds .., which may leave the dataset's root"
    return None


def is_absolute(image: str) -> bool:
    """Whether an image's path is one of a whole machine, Windows or not, or an address."""
    return image.startswith(("/", "\\\\")) or "://" in image or _DRIVE.match(image) is not None


def below(image: str, prefix: str) -> str | None:
    """The path without the folder `prefix` before it; None where it is not below that. `C:\\a\\b` is below `C:/a`."""
    path, folder = _slashes(image), _slashes(prefix).rstrip("/") + "/"
    return path[len(folder) :].lstrip("/") if path.startswith(folder) else None


def _slashes(path: str) -> str:
    """A Windows path with `/` between its parts; any other as it is: there a backslash is a letter of a name."""
    return path.replace("\\", "/") if _DRIVE.match(path) or path.startswith("\\\\") else path


_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether the file system is this machine's own."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def open_place(location: str | Path, fs: AbstractFileSystem | None) -> tuple[AbstractFileSystem, str]:
    """The file system and the path in it: those given, or without `fs` those of a local path or an fsspec URL."""
    place = str(location)
    if fs is None:
        import fsspec

        if "://" not in place:
            place = os.path.abspath(os.path.expanduser(place))
        try:
            fs, place = fsspec.core.url_to_fs(place)
        except (ImportError, ValueError) as error:
            raise UserError(f"data: {location} cannot be opened: {one_line(error)}") from None
    return fs, place.rstrip("/") or "/"


def extension(path: str) -> str:
    """The extension of a file's name, with the dot, in lower case."""
    return posixpath.splitext(path)[1].lower()


def records_file(fs: AbstractFileSystem, path: str, split: str | None) -> str:
    """The path of the file that `path`, a file or a folder, and `split` mean. Raises UserError."""
    if extension(path) in READERS:
        if split is not None:
            raise UserError(f"split: {path} is a file of records already; name its folder to choose a split")
        return path
    files = splits_in(fs, path)
    if split is None and len(files) == 1:
        return next(iter(files.values()))
    if split is None:
        raise UserError(f"split: {path} holds {', '.join(sorted(files))}; name one of them")
    if split not in files:
        raise UserError(f"split: {path} has no {split!r}, only {', '.join(sorted(files))}")
    return files[split]


def nested_files(fs: AbstractFileSystem, folder: str) -> list[str]:
    """The files `X/X.json` in the folders of one that holds no records itself; DD-VQA has one for each method."""
    if extension(folder) in READERS or any(_record_names(fs, place) for place in (_list_folder(folder), folder)):
        return []
    found = []
    for inner in folder_names(fs, folder):
        place = posixpath.join(folder, inner)
        found += [
            posixpath.join(place, name) for name in _record_names(fs, place) if posixpath.splitext(name)[0] == inner
        ]
    return found


def splits_in(fs: AbstractFileSystem, folder: str) -> dict[str, str]:
    """Path of the file of records by the name of the split, in a dataset folder or its LIST_FOLDER; or UserError."""
    for place in (_list_folder(folder), folder):
        files: dict[str, str] = {}
        for name in _record_names(fs, place):
            stem = posixpath.splitext(name)[0]
            if stem in files:
                raise UserError(f"data: {place} holds {posixpath.basename(files[stem])} and {name}; name one file")
            files[stem] = posixpath.join(place, name)
        if files:
            return files
    if not _exists(fs, folder):
        raise UserError(f"data: {folder} does not exist")
    known = ", ".join(READERS)
    raise UserError(f"data: {folder} is neither a file of records ({known}) nor a folder with {LIST_FOLDER}/train.json")


def file_names(fs: AbstractFileSystem, folder: str) -> list[str]:
    """Names of the files directly in a folder, sorted; none if there is no such folder. Raises UserError."""
    return _names(fs, folder, "file")


def folder_names(fs: AbstractFileSystem, folder: str) -> list[str]:
    """Names of the folders directly in a folder, sorted; none if there is no such folder. Raises UserError."""
    return _names(fs, folder, "directory")


def _record_names(fs: AbstractFileSystem, folder: str) -> list[str]:
    return [name for name in file_names(fs, folder) if extension(name) in READERS]


def _list_folder(folder: str) -> str:
    return posixpath.join(folder, LIST_FOLDER)


def _names(fs: AbstractFileSystem, folder: str, kind: str) -> list[str]:
    try:
        entries = fs.ls(folder, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except remote_errors() as error:
        raise UserError(f"data: {folder} cannot be listed: {one_line(error)}") from None
    found = (str(entry["name"]).rstrip("/") for entry in entries if entry["type"] == kind)
    return sorted(posixpath.basename(name) for name in found)


def _exists(fs: AbstractFileSystem, path: str) -> bool:
    try:
        return bool(fs.exists(path))
    except remote_errors() as error:
        raise UserError(f"data: {path} cannot be read: {one_line(error)}") from None


def read_records_file(fs: AbstractFileSystem, path: str) -> bytes:
    """The bytes of a file of records. Raises UserError."""
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        raise UserError(f"data: {path} does not exist") from None
    except remote_errors() as error:
        raise UserError(f"data: {path} cannot be read: {one_line(error)}") from None


def image_root(fs: AbstractFileSystem, path: str) -> str:
    """Where the image paths in the file at `path` count from, whether or not it exists.

    That is its folder, or the one around LIST_FOLDER, or what ROOT_FILE in there says. Raises UserError.
    """
    folder = posixpath.dirname(path)
    if posixpath.basename(folder) != LIST_FOLDER:
        return folder
    try:
        pointer = bytes(fs.cat_file(posixpath.join(folder, ROOT_FILE))).decode("utf-8").strip()
    except FileNotFoundError:
        return posixpath.dirname(folder)
    except remote_errors() as error:  # a ValueError too, for what is not UTF-8
        raise UserError(f"data: {folder}/{ROOT_FILE} cannot be read: {one_line(error)}") from None
    if not pointer or "\n" in pointer:
        raise UserError(f"data: {folder}/{ROOT_FILE} must hold one line, the path of the folder with the images")
    return pointer.rstrip("/") or "/"
