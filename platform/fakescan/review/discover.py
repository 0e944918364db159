"""The sample for finding things: the highest scores of many folders, no picture twice."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.errors import JobFailedError
from fakescan.review.histogram import batches_of
from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.run_file import RunFile
from fakescan.run.summary.folder_counts import folders_of
from fakevlm.near_duplicates.clusters import picture_clusters
from fakevlm.near_duplicates.phash import BITS

_COLUMNS = ("row_id", "uri", "sha256", "verdict", "score", "logit", "phash")
_PER_FOLDER = 4
"""Images of a folder that are kept for each image wanted, divided by the folders there are: at least so many."""


def discover(
    folder: RunFolder,
    run: RunFile,
    shards: NDArray[np.int64],
    n: int,
    *,
    workers: Workers = HERE,
    on_parts: OnParts = nobody,
) -> pa.Table:
    """`n` rows: the highest score of each folder, then the second of each, and so on, highest score first.

    Of a picture, that is of copies and near-duplicates in whatever folders, only the image that comes first is there. A
    run without perceptual hashes has copies of the same bytes once. Memory: 4 n rows, and the rows of some parts.
    """
    found: pa.Table | None = None
    work = _Highest(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run, n)
    with closing(workers.each(work, batches_of(shards), parts=len(shards), url=folder.url)) as batches:
        for batch, parts in batches:
            found = batch if found is None else highest(pa.concat_tables([found, batch]), _PER_FOLDER * n)
            on_parts(parts)
    assert found is not None, "a run without parts was refused before"
    return highest(found, n)


def highest(rows: pa.Table, n: int) -> pa.Table:
    """The `n` first rows by turn of their folder, then by logit; one of each picture."""
    order = np.lexsort((rows["row_id"].to_numpy(), -rows["logit"].to_numpy()))
    rows = rows.take(pa.array(order))
    # The first row of each content, which has its highest score.
    keys = rows["sha256"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, firsts = np.unique(keys, return_index=True)
    rows = rows.take(pa.array(np.sort(firsts)))
    turns = np.fromiter(_turns(rows), np.int64, rows.num_rows)
    return _first_pictures(rows.take(pa.array(np.lexsort((np.arange(rows.num_rows), turns)))), n)


def _first_pictures(rows: pa.Table, n: int) -> pa.Table:
    """The `n` first rows without those that are the same picture as an earlier one."""
    compared = 2 * n
    while True:
        found = rows.slice(0, compared)
        found = found.filter(pa.array(_is_first_of_picture(found["phash"])))
        if found.num_rows >= n or compared >= rows.num_rows:
            return found.slice(0, n)
        compared *= 4


def _is_first_of_picture(phash: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether no earlier row is the same picture; blank ones are pictures of their own."""
    first = np.ones(len(phash), bool)
    hashed = np.flatnonzero(phash.is_valid().to_numpy())
    digits = "".join(phash.filter(phash.is_valid()).to_pylist())
    hashes = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, BITS // 8)
    first[hashed] = picture_clusters(hashes) == np.arange(len(hashed))
    return first


def _turns(rows: pa.Table) -> Iterator[int]:
    """How many rows of the same folder come before each."""
    seen: dict[str, int] = {}
    for name in folders_of(rows["uri"].combine_chunks()).to_pylist():
        seen[name] = seen.get(name, -1) + 1
        yield seen[name]


@dataclass(frozen=True)
class _Highest:
    """The rows of a batch of parts that may be among the first, and how many parts it was given."""

    folder: RunFolder
    run: RunFile
    n: int

    def __call__(self, shards: NDArray[np.int64]) -> tuple[pa.Table, int]:
        tables = [
            part.filter(pc.is_valid(part["verdict"]))
            for part in whole_tables(self.folder, self.run, shards.tolist(), _COLUMNS, error=JobFailedError)
        ]
        return highest(pa.concat_tables(tables), _PER_FOLDER * self.n).combine_chunks(), len(shards)
