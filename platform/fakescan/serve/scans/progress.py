"""How far a scan is, read from its run folder: run.json, one listing of the parts, its cache, and their footers."""

import logging
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fakescan.run.counts import Counts
from fakescan.run.facts.cache import FactsCache, Kind
from fakescan.run.facts.table import counts_in
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.serve.scans.state import ScanCounts
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.reading import Meaning

logger = logging.getLogger(__name__)

FOOTERS_PER_CALL = 256
"""Footers of parts that one request may read, each in about 4 ms of CPU time; the next requests read the rest."""

_MAX_RUNS = 200


class Progress(NamedTuple):
    """How far a scan is; see `ScanState`."""

    rows: int | None = None
    rows_done: int = 0
    counts: ScanCounts = ScanCounts()
    meaning: Meaning | None = None
    notice: str | None = None


NOTHING_DONE = Progress()


class Budget:
    """The footers that one request may still read."""

    def __init__(self, footers: int = FOOTERS_PER_CALL) -> None:
        self._left = footers
        self._lock = threading.Lock()

    def take(self, footers: int) -> int:
        """As many as these, or as there are left."""
        with self._lock:
            taken = min(footers, self._left)
            self._left -= taken
            return taken


@dataclass
class _Run:
    """What is known of one run. Parts are written whole and do not change."""

    file: RunFile
    progress: Progress
    counted: NDArray[np.bool_]
    """Bool[shards]: whether a part is in the counts."""
    counts: Counts = field(default_factory=Counts)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to learn."""
        return self.progress.rows_done == self.counts.rows == self.file.rows

    def count(self, shards: NDArray[np.int64], counts: Counts) -> None:
        """Adds parts."""
        self.counted[shards] = True
        self.counts.add(counts)
        total = self.counts
        shown = ScanCounts(real=total.real, fake=total.fake, uncertain=total.uncertain, errors=total.failed)
        self.progress = self.progress._replace(counts=shown)


class ProgressReader:
    """Reads run folders of one store, and remembers what does not change. Called by several threads at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def read(self, output: str, budget: Budget) -> Progress:
        """The progress of the run in a folder. A store that is away is logged, and the last progress stays."""
        run = self._runs.get(output)
        if run is not None and run.is_complete:
            return run.progress
        try:
            folder = RunFolder(output, self._store, patience_s=0.0)
            run = run or self._open(folder, output)
            if run is None:
                return NOTHING_DONE
            with run.lock:
                _update(run, folder, budget)
        except UserError as error:
            logger.warning("%s", error)
        except store_errors() as error:
            logger.warning("the progress of %s cannot be read: %s", redact(output), classify(error)[1])
        return run.progress if run is not None else NOTHING_DONE

    def _open(self, folder: RunFolder, output: str) -> _Run | None:
        run = folder.load()
        if run is None:
            return None
        with self._lock:
            while len(self._runs) >= _MAX_RUNS:
                del self._runs[next(iter(self._runs))]
            begun = Progress(run.rows, meaning=run.known_meaning, notice=run.warning)
            known = _Run(run, begun, np.zeros(run.sharding.count, bool))
            return self._runs.setdefault(output, known)


def _update(run: _Run, folder: RunFolder, budget: Budget) -> None:
    sharding = run.file.sharding
    listing = folder.listing().below(sharding.count)
    uncounted = np.flatnonzero(~run.counted[listing.shards])
    if len(uncounted) > FOOTERS_PER_CALL:  # a long scan's cache knows most of them
        known = FactsCache(folder, run.file, Kind.COUNTS).load(listing.at(uncounted))
        run.count(known["shard"].to_numpy(), counts_in(known))
        uncounted = np.flatnonzero(~run.counted[listing.shards])
    shards = listing.shards[uncounted[: budget.take(len(uncounted))]]
    for shard, counts in zip(shards.tolist(), folder.counts(shards.tolist()), strict=True):
        run.count(np.array([shard]), counts)
    rows = len(listing) * sharding.shard_rows
    if len(listing) and listing.shards[-1] == sharding.count - 1:
        rows += sharding.size(sharding.count - 1) - sharding.shard_rows
    run.progress = run.progress._replace(rows_done=rows)
