"""Draws the images of a sample: from each stratum those with the lowest random keys, in one pass over the parts."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.errors import JobFailedError
from fakescan.review.histogram import batches_of
from fakescan.review.plan import Stratum, stratum_numbers
from fakescan.review.random_keys import random_keys
from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.run_file import RunFile

COLUMNS = ("row_id", "uri", "sha256", "verdict", "score", "logit", "source_key")


def draw(
    folder: RunFolder,
    run: RunFile,
    shards: NDArray[np.int64],
    strata: list[Stratum],
    *,
    seed: int,
    workers: Workers = HERE,
    on_parts: OnParts = nobody,
) -> pa.Table:
    """The drawn rows: `COLUMNS`, `stratum` (number) and `key`, by key. Few more rows than these are in memory."""
    drawn: pa.Table | None = None
    work = _DrawBatch(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run, tuple(strata), seed)
    with closing(workers.each(work, batches_of(shards), parts=len(shards), url=folder.url)) as found:
        for batch, parts in found:
            drawn = batch if drawn is None else lowest(pa.concat_tables([drawn, batch]), strata)
            on_parts(parts)
    assert drawn is not None, "a run without parts was refused before"
    return drawn


def lowest(rows: pa.Table, strata: Sequence[Stratum]) -> pa.Table:
    """The rows of each stratum with the lowest keys, as many as are to be drawn; those of no stratum are left out."""
    order = np.lexsort((rows["row_id"].to_numpy(), rows["key"].to_numpy()))
    numbers = rows["stratum"].to_numpy()[order]
    kept = np.zeros(len(order), bool)
    for number, stratum in enumerate(strata):
        kept[np.flatnonzero(numbers == number)[: stratum.drawn]] = True
    return rows.take(pa.array(order[kept]))


@dataclass(frozen=True)
class _DrawBatch:
    """The rows of a batch of parts that may be in the sample, and how many parts it was given."""

    folder: RunFolder
    run: RunFile
    strata: tuple[Stratum, ...]
    seed: int

    def __call__(self, shards: NDArray[np.int64]) -> tuple[pa.Table, int]:
        tables = [
            self._of_part(part)
            for part in whole_tables(self.folder, self.run, shards.tolist(), COLUMNS, error=JobFailedError)
        ]
        return lowest(pa.concat_tables(tables), self.strata).combine_chunks(), len(shards)

    def _of_part(self, rows: pa.Table) -> pa.Table:
        rows = rows.append_column("stratum", pa.array(stratum_numbers(rows, list(self.strata)), pa.int64()))
        rows = rows.append_column("key", pa.array(random_keys(rows, self.seed), pa.uint64()))
        return lowest(rows, self.strata)
