"""Shards and their parts: which row belongs where, what a part is called, and the bytes of one."""

import io
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.schema import RESULT_SCHEMA

DEFAULT_SHARD_ROWS = 256
SHARD_BYTES = 64 * 2**20
"""Bytes that a shard's files should hold at most."""
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

    def of(self, row_id: int) -> int:
        """The shard that a row belongs to."""
        return row_id // self.shard_rows


def shard_rows_for(rows: int, known_bytes: int) -> int:
    """Rows per shard for a manifest of `rows` whose objects hold `known_bytes`: 256 where nothing speaks against it.

    Small sources get at least 32 parts, so that the first results come early; large images get fewer rows, since a
    shard's files are in memory together. Never fewer than 16.
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


def merged(part: pa.Table | None, fresh: pa.Table) -> pa.Table:
    """The rows of a part with those in `fresh` replaced, by row id."""
    if part is None:
        return fresh
    kept = part.filter(pc.invert(pc.is_in(part["row_id"], fresh["row_id"])))
    return pa.concat_tables([kept.select(RESULT_SCHEMA.names).cast(RESULT_SCHEMA), fresh.cast(RESULT_SCHEMA)])


def part_bytes(results: pa.Table, sharding: Sharding, shard: int) -> bytes:
    """A part as a Parquet file: the shard's rows in order. A shard that is not whole is a bug, never a part."""
    results = results.sort_by("row_id").cast(RESULT_SCHEMA)
    counts = Counts.of(results).to_json()
    results = results.replace_schema_metadata({**(RESULT_SCHEMA.metadata or {}), COUNTS_KEY: counts})
    expected = np.arange(sharding.first(shard), sharding.first(shard) + sharding.size(shard))
    assert np.array_equal(results["row_id"].to_numpy(), expected), f"shard {shard} has wrong rows"
    sink = io.BytesIO()
    pq.write_table(results, sink, compression="zstd")
    return sink.getvalue()
