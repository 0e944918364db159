"""The scores of a run, counted in fine bins: what a sample is planned by."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.errors import JobFailedError
from fakescan.run.bulk.workers import BATCH_PARTS, HERE, Workers
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.run_file import RunFile
from fakescan.run.summary.outcomes import ERROR, OUTCOMES, outcome_numbers

VERDICTS = OUTCOMES[:ERROR]
BIN = 1 / 16
"""Width of a bin, in logits."""
_ENDS = 40.0
BIN_STARTS: NDArray[np.float64] = np.arange(-_ENDS, _ENDS, BIN, dtype=np.float64)
"""Lower ends of the bins; what lies beyond the first or last one is in it."""


@dataclass(frozen=True)
class Histogram:
    """Rows by verdict and logit."""

    counts: NDArray[np.int64]
    """int64[verdicts, bins], verdicts as in `VERDICTS`."""
    errors: int
    """Rows without a verdict."""

    @property
    def rows(self) -> int:
        """Rows with a verdict."""
        return int(self.counts.sum())


def count_scores(
    folder: RunFolder,
    run: RunFile,
    shards: NDArray[np.int64],
    *,
    workers: Workers = HERE,
    on_parts: OnParts = nobody,
) -> Histogram:
    """Count the rows of these parts. Raises JobFailedError for a part that cannot be read."""
    counts = np.zeros((len(VERDICTS), len(BIN_STARTS)), np.int64)
    errors = 0
    work = _CountBatch(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run)
    with closing(workers.each(work, batches_of(shards), parts=len(shards), url=folder.url)) as found:
        for batch, failed, parts in found:
            counts += batch
            errors += failed
            on_parts(parts)
    return Histogram(counts, errors)


def batches_of(shards: NDArray[np.int64]) -> Iterable[NDArray[np.int64]]:
    """The shards in batches."""
    return (shards[first : first + BATCH_PARTS] for first in range(0, len(shards), BATCH_PARTS))


def bin_numbers(logits: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each logit, which may be infinite."""
    inside = np.nan_to_num(logits, nan=0.0, posinf=_ENDS, neginf=-_ENDS).clip(-_ENDS, _ENDS)
    return np.floor((inside + _ENDS) / BIN).astype(np.int64).clip(0, len(BIN_STARTS) - 1)


@dataclass(frozen=True)
class _CountBatch:
    """Counts a batch of parts; returns also rows without a verdict, and how many parts it was given."""

    folder: RunFolder
    run: RunFile

    def __call__(self, shards: NDArray[np.int64]) -> tuple[NDArray[np.int64], int, int]:
        cells = np.zeros((len(OUTCOMES), len(BIN_STARTS)), np.int64)
        for part in whole_tables(self.folder, self.run, shards.tolist(), ("verdict", "logit"), error=JobFailedError):
            cells += _cells(part)
        return cells[:ERROR], int(cells[ERROR].sum()), len(shards)


def _cells(rows: pa.Table) -> NDArray[np.int64]:
    outcomes = outcome_numbers(rows["verdict"])
    logits = rows["logit"].to_numpy().astype(np.float64)  # null becomes NaN
    cells = np.bincount(outcomes * len(BIN_STARTS) + bin_numbers(logits), minlength=len(OUTCOMES) * len(BIN_STARTS))
    return cells.reshape(len(OUTCOMES), -1)
