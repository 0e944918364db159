"""Shards and their parts: which row belongs where, what is done, and what is left."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from fakescan.storage.objects import list_names

DEFAULT_SHARD_ROWS = 256
SHARD_BYTES = 64 * 2**20
"""What a shard's files should hold at most, in bytes."""
_PART = re.compile(r"part-(\d{8})\.parquet")


@dataclass(frozen=True, slots=True)
class Sharding:
    """How `rows` manifest rows are cut into shards of `shard_rows` consecutive row ids; fixed for a run."""

    rows: int
    shard_rows: int

    @property
    def count(self) -> int:
        """Shards in all; the last one may be short."""
        return -(-self.rows // self.shard_rows)

    def first(self, shard: int) -> int:
        """The first row id of a shard."""
        return shard * self.shard_rows

    def size(self, shard: int) -> int:
        """The number of rows of a shard."""
        return min(self.shard_rows, self.rows - self.first(shard))


def shard_rows_for(rows: int, known_bytes: int) -> int:
    """Rows per shard for a manifest of `rows` whose objects hold `known_bytes`: 256 where nothing speaks against it.

    Small sources get at least 32 parts, so that the first results come early; large images get fewer rows, since a
    shard's files stand in memory together. Never fewer than 16.
    """
    by_bytes = SHARD_BYTES * rows // known_bytes if known_bytes else DEFAULT_SHARD_ROWS
    return max(16, min(DEFAULT_SHARD_ROWS, rows // 32, by_bytes))


def part_name(shard: int) -> str:
    """File name of a shard's part."""
    return f"part-{shard:08d}.parquet"


def part_shard(name: str) -> int | None:
    """The shard whose part has this file name; None for any other name."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def missing(sharding: Sharding, names: Iterable[str]) -> NDArray[np.int64]:
    """Shards without a part, ascending; one bit of memory per shard while it counts."""
    absent = np.ones(sharding.count, dtype=bool)
    for name in names:
        shard = part_shard(name)
        if shard is not None and shard < sharding.count:
            absent[shard] = False
    return np.flatnonzero(absent)


def part_names(fs: AbstractFileSystem, parts: str) -> list[str]:
    """Names of everything in the folder of parts, by one fresh listing."""
    return [name for name, _ in list_names(fs, parts)]
