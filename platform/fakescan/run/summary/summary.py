"""The summary of a run: one pass over its parts, with the columns that it needs.

summary = summarize(RunFolder("s3://bucket/audit", Store()))
print(summary.outcomes.fake, summary.copies.contents)
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from fakescan.run.bulk.workers import BATCH_PARTS, HERE, Workers
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import PartTable, UnreadablePart, part_tables
from fakescan.run.run_file import RunFile
from fakescan.run.stability.columns import STRIP_NAMES
from fakescan.run.summary import image_facts
from fakescan.run.summary.copies import ContentHashes, CopyGroup
from fakescan.run.summary.outcomes import OUTCOMES
from fakescan.run.summary.row_count import RowCount, band_counts, counts_by_name
from fakescan.run.summary.run_summary import CopiedContent, Copies, MissingRows, RunSummary
from fakescan.storage.url import redact

__all__ = ["band_counts", "summarize"]

_COLUMNS = (
    *image_facts.COLUMNS, "verdict", "score", "logit", "error_code", "error_message", "scanned_at", "provenance",
    "provenance_basis",
)  # fmt: skip
_GROUPS = 5
_URIS = 2


def summarize(
    folder: RunFolder, *, depth: int = 1, on_part: Callable[[], None] = lambda: None, workers: Workers = HERE
) -> RunSummary:
    """Read the parts that exist; `on_part` is called for each. A run may be unfinished.

    A part that cannot be read is named in `unreadable`. Needs at most 80 bytes of memory for each row of the run, and
    the rows of a few parts. Raises UserError where there is no run, JobFailedError where the store fails.
    """
    run = folder.open()
    sharding = run.sharding
    shards = folder.listing().below(sharding.count).shards
    count, hashes = RowCount(depth, run.strip), ContentHashes(run.rows, len(run.identity.conditions))
    unreadable: list[UnreadablePart] = []
    work = _CountParts(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run, depth)
    batches = (shards[first : first + BATCH_PARTS] for first in range(0, len(shards), BATCH_PARTS))
    with closing(workers.each(work, batches, parts=len(shards), url=folder.url)) as found:
        for batch, lost, parts in found:
            hashes.take(batch.hashes)
            count.merge(batch)
            unreadable += lost
            for _ in range(parts):
                on_part()
    return RunSummary(
        run=redact(folder.url),
        run_id=run.run_id,
        created_at=run.created_at,
        source=run.identity.selection.source,
        model=run.model,
        warning=run.warning,
        meaning=run.known_meaning,
        is_calibrated=run.identity.ask.calibration.is_fitted,
        has_own_words=run.has_own_words or run.identity.ask.explain == "none",
        decode=run.identity.decode,
        rows=run.rows,
        done=sum(sharding.size(shard) for shard in shards.tolist()),
        is_finished=len(shards) == sharding.count,
        threshold=run.identity.ask.calibration.threshold,
        copies=_copies(folder, run, hashes),
        trust_list=run.trust_list,
        seen=run.seen,
        left_out=run.left_out,
        notes=list(run.notes),
        unreadable=[MissingRows(**asdict(part)) for part in unreadable],
        **count.results(),
    )


@dataclass(frozen=True)
class _CountParts:
    """Counts a batch of parts; returns also which cannot be read, and how many it was given."""

    folder: RunFolder
    run: RunFile
    depth: int

    def __call__(self, shards: NDArray[np.int64]) -> tuple[RowCount, list[UnreadablePart], int]:
        count = RowCount(self.depth, self.run.strip)
        columns = (*_COLUMNS, *STRIP_NAMES) if self.run.strip.is_on else _COLUMNS
        unreadable: list[UnreadablePart] = []
        for part in part_tables(self.folder, self.run, shards.tolist(), columns):
            if isinstance(part, PartTable):
                count.add(self.run.sharding.first(part.shard), part.table)
            else:
                unreadable.append(part)
        return count, unreadable, len(shards)


def _copies(folder: RunFolder, run: RunFile, hashes: ContentHashes) -> Copies:
    found = hashes.counts(_GROUPS)
    groups = (*found.largest, *found.different)
    uris = dict(_uris(folder, run, (row for group in groups for row in _examples(group))))

    def contents(groups: Iterable[CopyGroup]) -> list[CopiedContent]:
        return [
            CopiedContent(
                uris=[uris[row] for row in _examples(group) if row in uris],
                **counts_by_name(np.bincount(group.outcomes, minlength=len(OUTCOMES))),
            )
            for group in groups
        ]

    return Copies(
        contents=found.contents,
        rows=found.rows,
        largest=contents(found.largest),
        differing=found.differing,
        different=contents(found.different),
    )


def _examples(group: CopyGroup) -> list[int]:
    """Some rows of a group: the first of each outcome, then the first ones."""
    _, firsts = np.unique(group.outcomes, return_index=True)
    order = [*firsts.tolist(), *(index for index in range(min(_URIS, len(group.rows))) if index not in firsts)]
    return [int(group.rows[index]) for index in order[:_URIS]]


def _uris(folder: RunFolder, run: RunFile, rows: Iterable[int]) -> Iterator[tuple[int, str]]:
    """The addresses of rows, as far as their parts can be read."""
    by_shard: dict[int, set[int]] = {}
    for row in rows:
        by_shard.setdefault(run.sharding.of(row), set()).add(row)
    for part in part_tables(folder, run, sorted(by_shard), ["uri"]):
        if isinstance(part, PartTable):
            first = run.sharding.first(part.shard)
            yield from ((row, part.table["uri"][row - first].as_py()) for row in by_shard[part.shard])
