"""Shards and their parts: which row belongs where, what a part is called, and the bytes of one."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.run.sealed_parquet import Seal, parquet_bytes, seal_of, seal_text

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
    return pa.concat_tables([kept.select(fresh.column_names).cast(fresh.schema), fresh])


def part_bytes(results: pa.Table, sharding: Sharding, shard: int, schema: pa.Schema = RESULT_SCHEMA) -> bytes:
    """A part as a sealed Parquet file: the shard's rows in order. A shard that is not whole is a bug, never a part."""
    results = results.sort_by("row_id").cast(schema)
    expected = np.arange(sharding.first(shard), sharding.first(shard) + sharding.size(shard))
    assert np.array_equal(results["row_id"].to_numpy(), expected), f"shard {shard} has wrong rows"
    return parquet_bytes([results], schema, {COUNTS_KEY.decode(): Counts.of(results).to_json()})


@dataclass(frozen=True, slots=True)
class PartFacts:
    """A part in short."""

    counts: Counts
    last_scanned_at: datetime | None
    """When its latest row was judged."""
    seal: str | None = None
    """Its seal in hex; None for a part of a version that had none."""


def part_facts(data: bytes, sharding: Sharding, shard: int, *, sealed: bool) -> PartFacts | None:
    """The facts of a part, from its footer; None for one that is damaged or does not hold the shard's rows.

    `sealed`: parts of this run have seals, so that one without is damaged.
    """
    seal = seal_of(data)
    if seal is Seal.BROKEN or (sealed and seal is Seal.MISSING):
        return None
    return footer_facts(data, sharding, shard)


def footer_facts(data: bytes, sharding: Sharding, shard: int) -> PartFacts | None:
    """The same, whatever the seal says."""
    try:
        footer = pq.read_metadata(pa.BufferReader(data))
        counts = Counts.from_json(footer.metadata[COUNTS_KEY])
        row_ids = _limits(footer, "row_id")
        scanned_at = _limits(footer, "scanned_at")
    except Exception:  # noqa: BLE001 - a damaged footer leads anywhere
        return None
    first, size = sharding.first(shard), sharding.size(shard)
    if (row_ids, footer.num_rows, counts.rows) != ((first, first + size - 1), size, size):
        return None
    return PartFacts(counts, scanned_at[1] if scanned_at else None, seal_text(data))


def _limits(footer: pq.FileMetaData, column: str) -> tuple[Any, Any] | None:
    """The smallest and the largest value of a column; None where the file does not say."""
    place = footer.schema.names.index(column)
    groups = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
    if not groups or any(group is None or not group.has_min_max for group in groups):
        return None
    return min(group.min for group in groups), max(group.max for group in groups)
