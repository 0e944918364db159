"""Shards and their parts: which row belongs where, what a part is called, and the bytes of one."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.run.sealed_parquet import Seal, parquet_bytes, seal_of, seal_text
from fakevlm.preprocess import ImageSpec

DEFAULT_SHARD_ROWS = 256
MAX_SHARD_ROWS = 4096
MAX_PARTS = 1_000_000
"""Parts of a run from which on its shards get larger."""
SHARD_BYTES = 64 * 2**20
"""Bytes that the files of 256 rows should hold at most; those of a larger shard may be larger in proportion."""
PIXEL_BYTES = 256 * 2**20
"""Bytes that a shard's images, as the model takes them, should hold at most: one object in Ray's object store."""
DEFAULT_IMAGE = ImageSpec(shortest_edge=336, crop=(336, 336))
"""The input of the released weights."""
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

    def rows_of(self, shards: NDArray[np.int64]) -> int:
        """Rows of some shards, none of them twice."""
        last = self.count - 1
        short = self.shard_rows - self.size(last) if len(shards) and shards.max() == last else 0
        return len(shards) * self.shard_rows - short

    def of(self, row_id: int) -> int:
        """The shard that a row belongs to."""
        return row_id // self.shard_rows


def shard_rows_for(rows: int, known_bytes: int, image: ImageSpec = DEFAULT_IMAGE) -> int:
    """Rows per shard for a manifest of `rows` whose objects hold `known_bytes`: 256 where nothing speaks against it.

    Small sources get at least 32 parts, so that the first results come early, and never fewer than 16 rows. Runs of
    more than 256 million rows get more, up to 4,096, so that they have about a million parts: what one driver can
    schedule grows with the rows of a shard (see docs/jobs.md). Large images, and large inputs of the model, get fewer:
    a shard's files are in memory together, and so are its pixels.
    """
    wanted = max(DEFAULT_SHARD_ROWS, min(MAX_SHARD_ROWS, rows // MAX_PARTS))
    file_bytes = SHARD_BYTES * wanted // DEFAULT_SHARD_ROWS
    by_files = file_bytes * rows // known_bytes if known_bytes else wanted
    by_pixels = PIXEL_BYTES // (3 * image.height * image.width)
    return max(16, min(wanted, rows // 32, by_files, by_pixels))


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
