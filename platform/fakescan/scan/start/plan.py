"""The plan of a scan: which shards of its run, or of its slice, are to be done, and what the others hold."""

import logging
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name, part_shard
from fakescan.run.run_file import RunFile
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
    sound: list[int] = field(default_factory=list)
    """Shards whose part is there and whole."""
    retried: list[int] = field(default_factory=list)
    """Those to do whose part keeps its good rows."""
    before: Counts = field(default_factory=Counts)
    """Rows of the parts that are not touched."""
    last_scanned_at: datetime | None = None
    """When the latest row of those was judged."""
    earlier_errors: dict[str, int] = field(default_factory=dict)
    """For each error code in those parts, a shard that has it."""


def make_plan(folder: RunFolder, run: RunFile, *, retry_errors: bool, part: RunSlice | None = None) -> Plan:
    """Read every part that is there; those that are damaged are done again. `part`: the slice, if not the whole run."""
    shards = np.arange(*(part or WHOLE_RUN).shards(run.sharding.count))
    missing = np.intersect1d(folder.missing(run.sharding), shards, assume_unique=True)
    there = np.setdiff1d(shards, missing, assume_unique=True).tolist()
    plan = Plan(missing, run.sharding.rows_of(shards))
    damaged: list[int] = []
    for shard, facts in zip(there, folder.facts(run, there), strict=True):
        if facts is None:
            damaged.append(shard)
            continue
        plan.sound.append(shard)
        if retry_errors and facts.counts.failed:
            plan.retried.append(shard)
        else:
            plan.before.add(facts.counts)
            for code in facts.counts.errors:
                plan.earlier_errors.setdefault(code, shard)
            moments = [moment for moment in (plan.last_scanned_at, facts.last_scanned_at) if moment is not None]
            plan.last_scanned_at = max(moments, default=None)
    if damaged:
        named = ", ".join(part_name(shard) for shard in damaged[:3])
        more = f" and {len(damaged) - 3:,} more" if len(damaged) > 3 else ""
        logger.warning("%s parts are damaged and are done again: %s%s", f"{len(damaged):,}", named, more)
    plan.todo = np.union1d(missing, np.array([*damaged, *plan.retried], dtype=np.int64))
    return plan


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
