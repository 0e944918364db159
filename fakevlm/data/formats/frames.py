"""The frames of FaceForensics++'s videos below a folder, whichever way they were cut."""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator

from fsspec import AbstractFileSystem

from fakevlm.data.paths import extension, is_local
from fakevlm.errors import UserError, one_line, remote_errors

METHODS: dict[str, tuple[str, ...]] = {
    "0": ("deepfakes",),
    "1": ("face2face",),
    "2": ("faceshifter", "faceshift"),
    "3": ("faceswap",),
    "5": ("original", "original_sequences", "youtube", "real"),
    "6": ("neuraltextures", "neuraltexture"),
}
"""Names of folders by the number that DD-VQA gives a method; 5 is the untouched video (its README)."""

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
_BESIDE = frozenset({"masks", "mask", "landmarks"})
"""Folders with pictures that are no frames, which DeepfakeBench keeps beside `frames`."""
_DIGITS = re.compile(r"(\d+)")


class Frames:
    """All frames below a folder, found by one walk through it.

    A video is a folder of its name below one of its method, such as
    `manipulated_sequences/Deepfakes/c23/frames/000_003` or `ff++/fake/Deepfakes/000_003`, or a file that has DD-VQA's
    own name for it, such as `0_000_003.jpg`.
    """

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._root = root
        self._folders: defaultdict[str, list[str]] = defaultdict(list)
        self._files: defaultdict[str, list[str]] = defaultdict(list)
        """Paths by the name without extension."""
        names: defaultdict[str, list[str]] = defaultdict(list)
        for path in _images(fs, root):
            names[posixpath.dirname(path)].append(posixpath.basename(path))
            self._files[posixpath.splitext(posixpath.basename(path))[0]].append(path)
        self._names = names
        for folder in names:
            self._folders[posixpath.basename(folder)].append(folder)

    def of(self, video: str) -> tuple[str, ...]:
        """Paths of the frames of `0_000_003`, in the order of their numbers. Raises ValueError.

        A single file stands for the whole video, whatever is asked about it: then it is the only one.
        """
        if alone := self._files.get(video):
            return (self._only(video, alone),)
        method, _, name = video.partition("_")
        folders = [folder for folder in self._folders.get(name, ()) if _is_of(folder, method)]
        if not folders:
            kinds = "/".join(METHODS.get(method, ("…",))[:1])
            raise ValueError(
                f"has no frames below {self._root or '.'}: neither a file {video}.jpg nor a folder {kinds}/…/{name}"
            )
        folder = self._only(video, folders)
        return tuple(posixpath.join(folder, one) for one in sorted(self._names[folder], key=_by_number))

    def is_alone(self, video: str) -> bool:
        """Whether one file stands for the whole video."""
        return video in self._files

    @staticmethod
    def _only(video: str, places: list[str]) -> str:
        if len(places) > 1:
            shown = ", ".join(sorted(places)[:3])
            raise ValueError(f"has frames in {shown}; name the folder around one of them with --image-folder")
        return places[0]


def _is_of(folder: str, method: str) -> bool:
    parts = folder.lower().split("/")
    names = METHODS.get(method)
    return not _BESIDE.intersection(parts) and (names is None or any(name in parts for name in names))


def _by_number(name: str) -> list[tuple[int, str]]:
    """`9.png` before `10.png`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name)]


def _images(fs: AbstractFileSystem, root: str) -> Iterator[str]:
    """Paths of the images below `root`, relative to it. Raises UserError."""
    if is_local(fs):
        for path in _local_files(root):
            if extension(path) in _IMAGES:
                yield path
        return
    try:
        found = fs.find(root)
    except remote_errors() as error:
        raise UserError(f"data: {root} cannot be listed: {one_line(error)}") from None
    for path in found:
        if extension(path) in _IMAGES:
            yield posixpath.relpath(path, root)


def _local_files(root: str) -> Iterator[str]:
    """Files below a folder, through links to folders too, each folder once: a link to one above it ends there."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)
