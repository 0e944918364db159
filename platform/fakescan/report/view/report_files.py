"""The files of a report, wherever it is, and pieces of them: what a page reads by requests for ranges."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakescan.run.folder import RunFolder
from fakescan.storage.store import is_local
from fakescan.storage.transport.base import entry_etag

_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*")
_HIDDEN = frozenset({"work", "lease.json"})
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class ReportFileEntry:
    """A file: its size in bytes, and what tells its version."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True)
class ReportFiles:
    """The files of one report. Its calls block."""

    target: RunFolder

    def find(self, name: str) -> ReportFileEntry | None:
        """The file of a name such as `data/0123/rows-00000.parquet`; None for what is none of the report's."""
        if not _NAME.fullmatch(name) or name.partition("/")[0] in _HIDDEN:
            return None
        path = f"{self.target.path}/{name}"
        if is_local(self.target.fs):
            return _local(Path(self.target.path), name)
        try:
            found: dict[str, Any] = self.target.fs.info(path)
        except FileNotFoundError:
            return None
        if found["type"] != "file":
            return None
        return ReportFileEntry(path, int(found["size"]), f'"{entry_etag(found) or found["size"]}"')

    def read(self, file: ReportFileEntry, first: int, last: int) -> bytes:
        """The bytes from `first` to just below `last`."""
        if is_local(self.target.fs):
            with open(file.path, "rb") as source:
                source.seek(first)
                return source.read(last - first)
        data: bytes = self.target.fs.cat_file(file.path, start=first, end=last)
        return data


def _local(root: Path, name: str) -> ReportFileEntry | None:
    path = root / name
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()) or not path.is_file():
            return None  # a link that leads out of the report is no file of it
        found = path.stat()
    except OSError:
        return None
    return ReportFileEntry(str(path), found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"')


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a Range header; None for the whole, as for what is not understood.

    Raises ValueError for a range that is not in the file.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(int(last) + 1 if last else size, size)
        if last and int(last) < int(first):
            return None
    if begin >= end:
        raise ValueError("the range is not in the file")
    return begin, end
