"""The facts of all parts of a run: from the cache where they are known, and from the parts themselves."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.run.bulk.listing import UNKNOWN, PartListing
from fakescan.run.bulk.threads import on_threads
from fakescan.run.bulk.workers import BATCH_PARTS, HERE, Workers
from fakescan.run.counts import Counts
from fakescan.run.facts.cache import FactsCache, Kind
from fakescan.run.facts.table import ReadFacts, counts_in, facts_table
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_facts
from fakescan.run.run_file import RunFile
from fakescan.settings.run_slice import WHOLE_RUN, RunSlice

READERS = 16
"""Parts that one process reads at once."""

OnParts = Callable[[int], None]
"""Told of so many more parts that are done."""


def nobody(parts: int) -> None:
    """Whom nobody tells."""


@dataclass(frozen=True)
class RunFacts:
    """What the parts of a run hold."""

    table: pa.Table
    """Of those that are whole, by ascending shard; see `FACTS_SCHEMA`."""
    damaged: NDArray[np.int64]
    """Shards whose part is there and is not whole."""


def read_facts(
    folder: RunFolder,
    run: RunFile,
    listing: PartListing,
    workers: Workers = HERE,
    *,
    on_parts: OnParts = nobody,
    keep: bool = True,
) -> RunFacts:
    """The facts of the listing's parts. Those that the cache does not know are read, and with `keep` it then does.

    A part that the cache knows and that has changed without another size, time or version is not noticed: `verify`
    would.
    """
    cache = FactsCache(folder, run, Kind.COUNTS)
    known = cache.load(listing)
    if keep:
        cache.tidy(known)
    unread = np.ones(len(listing), bool)
    unread[listing.places_of(known["shard"].to_numpy())] = False
    tables = [known]
    rest = listing.at(unread)
    work = _ReadFacts(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run)
    try:
        with closing(workers.each(work, rest.batches(BATCH_PARTS), parts=len(rest), url=folder.url)) as found:
            for batch, size in found:
                tables.append(batch)
                if keep:
                    cache.add(batch)
                on_parts(size)
    finally:
        cache.flush()
    table = pa.concat_tables(tables).sort_by("shard").combine_chunks() if len(rest) else known
    sound = np.zeros(len(listing), bool)
    sound[listing.places_of(table["shard"].to_numpy())] = True
    return RunFacts(table, listing.shards[~sound])


def count_run(folder: RunFolder, run: RunFile, part: RunSlice = WHOLE_RUN) -> Counts:
    """Rows of the parts that exist, of the run or of a slice of it.

    From the cache, and of parts that it does not know from their footers.

    Raises UserError for a part whose footer is damaged.
    """
    listing = folder.listing().between(*part.shards(run.sharding.count))
    known = FactsCache(folder, run, Kind.COUNTS).load(listing)
    unread = np.ones(len(listing), bool)
    unread[listing.places_of(known["shard"].to_numpy())] = False
    whole = counts_in(known)
    for counts in folder.counts(listing.shards[unread].tolist()):
        whole.add(counts)
    return whole


@dataclass(frozen=True)
class _ReadFacts:
    """Reads a batch of parts; returns the facts of those that are whole, and how many parts it was given."""

    folder: RunFolder
    run: RunFile

    def __call__(self, batch: PartListing) -> tuple[pa.Table, int]:
        parts = zip(batch.shards.tolist(), batch.sizes.tolist(), batch.stamps.tolist(), strict=True)
        found = on_threads(self._read, parts, threads=READERS)
        return facts_table(part for part in found if part is not None), len(batch)

    def _read(self, part: tuple[int, int, int]) -> ReadFacts | None:
        shard, size, stamp = part
        data = self.folder.part_data(shard)
        if data is None:
            return None
        facts = part_facts(data, self.run.sharding, shard, sealed=self.run.schema_version != "1")
        if facts is None:
            return None
        # Another size than listed: it was replaced since.
        return ReadFacts(shard, len(data), stamp if len(data) == size else UNKNOWN, facts)
