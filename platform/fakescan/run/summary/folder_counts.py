"""Rows by the folder of their image, in a bounded number of folders."""

import re
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.summary.outcomes import OUTCOMES

MAX_FOLDERS = 100_000
"""Folders that are counted one by one; of more, those with the fewest rows are counted together."""

_HEAD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")
_TAR = r"(?s)^tar://(.*?)::(.*)$"
_ROW = r"(?is)(\.parquet)#row=\d+(&image=\d+)?(&column=[^&]*)?$"

Path = tuple[str, ...]
"""Store and bucket or host (empty for a local path), then the folders."""


class FolderCounts:
    """Counts rows by the first `depth` folders below the folder that all images have in common.

    That folder is known at the end only; until then the counts are as deep as the rows so far need them. A tar or
    Parquet file is a folder here.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._common: Path | None = None
        self._counts: dict[Path, NDArray[np.int64]] = {}
        self._rest = np.zeros(len(OUTCOMES), np.int64)
        self._dropped = 0

    def add(self, uris: pa.ChunkedArray, outcomes: NDArray[np.int64]) -> None:
        """Count rows with these addresses and outcomes in."""
        encoded = folders_of(uris.combine_chunks()).dictionary_encode()
        names = [folder_path(name) for name in encoded.dictionary.to_pylist()]
        size = len(OUTCOMES)
        cells = np.bincount(encoded.indices.to_numpy() * size + outcomes, minlength=len(names) * size)
        for path, counts in zip(names, cells.reshape(-1, size), strict=True):
            self._widen(path)
            self._count(path, counts)
        if len(self._counts) > MAX_FOLDERS:
            self._drop_small_ones()

    def merge(self, other: "FolderCounts") -> None:
        """Count the rows in that another counter of the same depth has counted."""
        if other._common is None:
            return
        self._widen(other._common)
        for path, counts in other._counts.items():
            self._count(path, counts)
        self._rest = self._rest + other._rest
        self._dropped += other._dropped
        if len(self._counts) > MAX_FOLDERS:
            self._drop_small_ones()

    @property
    def base(self) -> str:
        """The folder that all images are below; empty where they have none in common."""
        common = self._common or ()
        return "/" if common == ("",) else "/".join(common)

    def largest(self) -> list[tuple[str, NDArray[np.int64]]]:
        """Each folder below `base` with its rows by outcome, most rows first; `.` is `base` itself."""
        start = len(self._common or ())
        found = [(_name(path[start:]), counts) for path, counts in self._counts.items()]
        return sorted(found, key=lambda item: (-int(item[1].sum()), item[0]))

    @property
    def rest(self) -> tuple[int, NDArray[np.int64]]:
        """Folders that were counted together, at most so many, and their rows by outcome."""
        return self._dropped, self._rest

    def _widen(self, path: Path) -> None:
        """Let the common folder be one that holds this folder, too; counts are made less deep by as much."""
        if self._common is None:
            self._common = path
        common = self._common
        shared = next((n for n, (a, b) in enumerate(zip(common, path, strict=False)) if a != b), None)
        length = min(len(common), len(path)) if shared is None else shared
        if length < len(common):
            self._common = common[:length]
            before, self._counts = self._counts, {}
            for deeper, counts in before.items():
                self._count(deeper, counts)

    def _count(self, path: Path, counts: NDArray[np.int64]) -> None:
        key = path[: len(self._common or ()) + self._depth]
        self._counts[key] = self._counts[key] + counts if key in self._counts else counts

    def _drop_small_ones(self) -> None:
        kept = sorted(self._counts.items(), key=lambda item: -int(item[1].sum()))
        for _, counts in kept[MAX_FOLDERS // 2 :]:
            self._rest = self._rest + counts
            self._dropped += 1
        self._counts = dict(kept[: MAX_FOLDERS // 2])


def folders_of(uris: pa.Array) -> pa.Array:
    """The folder of each address, as a string without a slash at its end."""
    if pc.any(pc.starts_with(uris, "tar://")).as_py():
        uris = pc.replace_substring_regex(uris, _TAR, r"\2/\1")
    if pc.any(pc.match_substring(uris, "#row=")).as_py():
        uris = pc.replace_substring_regex(uris, _ROW, r"\1/")
    return pc.replace_substring_regex(uris, r"(?s)/[^/]*$", "")


def _name(path: Path) -> str:
    return "/".join(path) or "/" if path else "."


def folder_path(folder: str) -> Path:
    """A folder's address, as `folders_of` has it, in its levels."""
    if folder.lower().startswith("file://"):  # the form of local names that are not UTF-8
        return tuple(_readable(name) for name in folder[len("file://") :].split("/"))
    match = _HEAD.match(folder)
    head = match[0] if match else ""
    return (head, *folder[len(head) :].split("/")[1:])


def _readable(quoted: str) -> str:
    """A name without its percent signs, unless only they can write it."""
    try:
        return unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        return quoted
