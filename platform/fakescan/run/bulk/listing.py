"""The parts of a run as one fresh listing shows them: which there are, how large, and which version of each."""

import contextlib
import hashlib
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from fakescan.run.parts import part_name, part_shard
from fakescan.storage.objects import PATIENCE_S, patiently
from fakescan.storage.s3.listing import list_page, next_page
from fakescan.storage.store import is_local, is_s3
from fakescan.storage.transport.base import entry_etag
from fakescan.storage.url import redact, split_bucket

UNKNOWN = 0
"""The stamp of a part whose store does not say which version it is."""


class _Entry(NamedTuple):
    name: str
    size: int
    stamp: int


@dataclass(frozen=True)
class PartListing:
    """Parts by ascending shard, 24 bytes for each."""

    shards: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Bytes."""
    stamps: NDArray[np.uint64]
    """A number that another version of the part does not have; `UNKNOWN` where the store tells none."""
    strangers: tuple[str, ...] = ()
    """Names of what is no part, sorted."""

    def __len__(self) -> int:
        return len(self.shards)

    def below(self, count: int) -> "PartListing":
        """The parts of shards below `count`, without what is no part."""
        return self.between(0, count)

    def between(self, first: int, last: int) -> "PartListing":
        """The parts of shards from `first` to just below `last`, without what is no part."""
        piece = slice(*np.searchsorted(self.shards, [first, last]).tolist())
        return PartListing(self.shards[piece], self.sizes[piece], self.stamps[piece])

    def at(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> "PartListing":
        """The parts at these places."""
        return PartListing(self.shards[places], self.sizes[places], self.stamps[places])

    def batches(self, parts: int) -> Iterator["PartListing"]:
        """The parts in pieces of at most so many."""
        for first in range(0, len(self), parts):
            piece = slice(first, first + parts)
            yield PartListing(self.shards[piece], self.sizes[piece], self.stamps[piece])

    def places_of(self, shards: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each of these shards is in the listing; -1 for one that is not."""
        if not len(self):
            return np.full(len(shards), -1, np.int64)
        places = np.searchsorted(self.shards, shards).clip(0, len(self) - 1)
        return np.where(self.shards[places] == shards, places, -1)


def list_parts(fs: AbstractFileSystem, folder: str, *, patience_s: float = PATIENCE_S) -> PartListing:
    """List a run's folder of parts, which may be absent."""
    shards, sizes, stamps = array("q"), array("q"), array("Q")
    strangers: list[str] = []
    for name, size, stamp in _entries(fs, folder, patience_s):
        shard = part_shard(name)
        if shard is None:
            strangers.append(name)
        else:
            shards.append(shard)
            sizes.append(size)
            stamps.append(stamp)
    numbers = np.array(shards, np.int64)
    order = np.argsort(numbers, kind="stable")
    return PartListing(
        numbers[order], np.array(sizes, np.int64)[order], np.array(stamps, np.uint64)[order], tuple(sorted(strangers))
    )


def stamp_of_written(fs: AbstractFileSystem, folder: str, shard: int, data: bytes) -> int:
    """The stamp that a listing will have for a part that has just been written; `UNKNOWN` where nobody can say.

    A store of S3's kind names what came by one PUT by its MD5. One that does otherwise, as with some encryption, never
    lists this stamp, and the part is read when its facts are wanted.
    """
    if is_local(fs):
        with contextlib.suppress(OSError):
            found = os.stat(Path(folder, part_name(shard)))
            return _local_stamp(found) if found.st_size == len(data) else UNKNOWN
    if is_s3(fs):
        return _stamp(hashlib.md5(data, usedforsecurity=False).hexdigest())
    return UNKNOWN


def _entries(fs: AbstractFileSystem, folder: str, patience_s: float) -> Iterator[_Entry]:
    if is_local(fs):
        return _local_entries(folder)
    if is_s3(fs):
        return _s3_entries(fs, folder, patience_s)
    return _other_entries(fs, folder, patience_s)


def _local_entries(folder: str) -> Iterator[_Entry]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile, as other writers' temporary files are
                if entry.is_file():
                    found = entry.stat()
                    yield _Entry(entry.name, found.st_size, _local_stamp(found))


def _local_stamp(found: os.stat_result) -> int:
    # The time of change cannot be set back, as that of modification can; a part that was replaced is another inode.
    return _stamp(f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")


def _s3_entries(fs: AbstractFileSystem, folder: str, patience_s: float) -> Iterator[_Entry]:
    bucket, key = split_bucket(folder)
    prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
    following: dict[str, str] | None = {}
    while following is not None:
        asked = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/", **following}
        page = patiently(partial(list_page, fs, **asked), f"listing {redact(folder)}", patience_s=patience_s)
        for item in page.get("Contents", []):
            if name := item["Key"][len(prefix) :]:
                yield _Entry(name, int(item.get("Size", 0)), _stamp(entry_etag(item)))
        following = next_page(page)


def _other_entries(fs: AbstractFileSystem, folder: str, patience_s: float) -> Iterator[_Entry]:
    try:
        found = patiently(lambda: fs.ls(folder, detail=True), f"listing {redact(folder)}", patience_s=patience_s)
    except FileNotFoundError:
        return
    for item in found:
        if item["type"] == "file":
            yield _Entry(str(item["name"]).rpartition("/")[2], int(item["size"] or 0), _stamp(entry_etag(item)))


def _stamp(version: str | None) -> int:
    if not version:
        return UNKNOWN
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest(), "little") or 1
