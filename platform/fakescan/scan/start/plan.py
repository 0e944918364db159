"""The plan of a scan: which shards of its run, or of its slice, are to be done, and what the others hold."""

import logging
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.counts import Counts
from fakescan.run.facts.run_facts import read_facts
from fakescan.run.facts.table import counts_in, has_errors, latest, shard_by_code
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name, part_shard
from fakescan.run.run_file import RunFile
from fakescan.scan.stability.failed_variants import rows_with_failed_variants
from fakescan.settings.run_slice import WHOLE_RUN, RunSlice
from fakescan.storage.objects import list_names

logger = logging.getLogger(__name__)


@dataclass
class Plan:
    """What is to be done of a run, or of a slice of it."""

    todo: NDArray[np.int64]
    """Shards to do, ascending."""
    rows: int = 0
    """Rows of the run, or of the slice."""
    sound: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Shards whose part is there and whole."""
    retried: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Those to do whose part keeps its good rows."""
    before: Counts = field(default_factory=Counts)
    """Rows of the parts that are not touched."""
    last_scanned_at: datetime | None = None
    """When the latest row of those was judged."""
    earlier_errors: dict[str, int] = field(default_factory=dict)
    """For each error code in those parts, a shard that has it."""


def make_plan(
    folder: RunFolder, run: RunFile, *, retry_errors: bool, part: RunSlice | None = None, workers: Workers = HERE
) -> Plan:
    """List the parts, and read those that the run's cache does not know; those that are damaged are done again, and
    with `retry_errors` those with errors or with variants that could not be judged.

    `part`: the slice, if not the whole run.
    """
    first, last = (part or WHOLE_RUN).shards(run.sharding.count)
    listing = folder.listing().between(first, last)
    facts = read_facts(folder, run, listing, workers)
    missing = np.setdiff1d(np.arange(first, last), listing.shards, assume_unique=True)
    shards, again = facts.table["shard"].to_numpy(), np.zeros(len(facts.table), bool)
    if retry_errors:
        again = has_errors(facts.table)
        again[~again] = rows_with_failed_variants(folder, run, shards[~again], workers) > 0
    left = facts.table.filter(pa.array(~again))
    if len(facts.damaged):
        _warn_of_damage(facts.damaged)
    return Plan(
        np.union1d(missing, np.concatenate([facts.damaged, shards[again]])),
        rows=run.sharding.rows_of(np.arange(first, last)),
        sound=shards,
        retried=shards[again],
        before=counts_in(left),
        last_scanned_at=latest(left),
        earlier_errors=shard_by_code(left),
    )


def parts_missing(folder: RunFolder, run: RunFile, part: RunSlice | None) -> tuple[int, int]:
    """Parts that the run, or the slice, does not have, and those that other slices do not, by one fresh listing.

    An empty object is no part: some servers make one of a PUT whose sender has hung up, which may be after the same
    part was written by a second try.
    """
    count = run.sharding.count
    absent = np.ones(count, dtype=bool)
    for name, size in list_names(folder.fs, folder.parts, patience_s=folder.patience_s):
        if size and (shard := part_shard(name)) is not None and shard < count:
            absent[shard] = False
    first, last = (part or WHOLE_RUN).shards(count)
    ours = int(np.count_nonzero(absent[first:last]))
    return ours, int(np.count_nonzero(absent)) - ours


def _warn_of_damage(damaged: NDArray[np.int64]) -> None:
    named = ", ".join(part_name(shard) for shard in damaged[:3].tolist())
    more = f" and {len(damaged) - 3:,} more" if len(damaged) > 3 else ""
    logger.warning("%s parts are damaged and are done again: %s%s", f"{len(damaged):,}", named, more)
