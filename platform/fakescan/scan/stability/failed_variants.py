"""Variants that could not be judged: `--retry-errors` looks at their images again, and keeps what is better.

A row with a verdict is no error, and none may become one by being tried again: it is replaced by a row of the same
content with fewer variants that failed, and by no other.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.bulk.threads import on_threads
from fakescan.run.bulk.workers import BATCH_PARTS, HERE, Workers
from fakescan.run.facts.run_facts import READERS
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.run.stability.columns import LOGITS, NOTE


def has_failed_variants(rows: pa.Table) -> pa.Array | pa.ChunkedArray:
    """Bool[rows]: whether the image was looked at again and a variant of it could not be judged."""
    if NOTE not in rows.column_names:
        return pa.array(np.zeros(rows.num_rows, bool))
    return pc.is_valid(rows[NOTE])


def rows_with_failed_variants(
    folder: RunFolder, run: RunFile, shards: NDArray[np.int64], workers: Workers = HERE
) -> NDArray[np.int64]:
    """For each of these shards, whose parts are whole, its rows with such a variant: the parts are read, where the run
    has a strip."""
    if not run.strip.is_on or not len(shards):
        return np.zeros(len(shards), np.int64)
    work = _CountRows(RunFolder(folder.url, folder.store.resolved(), folder.patience_s))
    batches = (shards[first : first + BATCH_PARTS] for first in range(0, len(shards), BATCH_PARTS))
    with closing(workers.each(work, batches, parts=len(shards), url=folder.url)) as counts:
        return np.concatenate(list(counts))


@dataclass(frozen=True)
class _CountRows:
    """Counts in a batch of parts."""

    folder: RunFolder

    def __call__(self, shards: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array(list(on_threads(self._count, shards.tolist(), threads=READERS)), np.int64)

    def _count(self, shard: int) -> int:
        try:
            part = self.folder.read_part(shard, [NOTE])
        except pa.ArrowInvalid:  # replaced by a damaged one since it was found whole: whoever reads it says so
            return 0
        return 0 if part is None else len(part[NOTE]) - part[NOTE].null_count


def better_rows(fresh: pa.Table, part: pa.Table | None) -> pa.Table:
    """The rows from the judge that are better than those that a part holds of the same images, or of which it has
    none or an error."""
    if part is None:
        return fresh
    there = part.filter(pc.and_(pc.is_valid(part["verdict"]), pc.is_in(part["row_id"], fresh["row_id"])))
    known = {row_id: (sha256, failed) for row_id, sha256, failed in _looks(there)}
    keep = [
        row_id not in known or (sha256 == known[row_id][0] and is_valid and failed < known[row_id][1])
        for (row_id, sha256, failed), is_valid in zip(
            _looks(fresh), pc.is_valid(fresh["verdict"]).to_pylist(), strict=True
        )
    ]
    return fresh.filter(pa.array(keep, pa.bool_()))


def _looks(rows: pa.Table) -> Iterator[tuple[int, str | None, int]]:
    """Row id, SHA-256, and how many variants of it could not be judged."""
    failed = np.zeros(rows.num_rows, np.int64)
    if NOTE in rows.column_names:
        is_looked = pc.is_valid(rows[NOTE]).to_numpy()
        failed = sum((rows[name].is_null().to_numpy() & is_looked for name in LOGITS), failed)
    yield from zip(rows["row_id"].to_pylist(), rows["sha256"].to_pylist(), failed.tolist(), strict=True)
