"""How far a scan is, read from its run folder: run.json, one listing of the parts, and their footers."""

import logging
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import Sharding
from fakescan.serve.scans.state import ScanCounts
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

FOOTERS_PER_CALL = 256
"""Footers of parts that one request may read, each in about 4 ms of CPU time; the next requests read the rest."""

_MAX_RUNS = 200


class Progress(NamedTuple):
    """How far a scan is; see `ScanState`."""

    rows: int | None = None
    rows_done: int = 0
    counts: ScanCounts = ScanCounts()


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

    sharding: Sharding
    progress: Progress
    counts: Counts = field(default_factory=Counts)
    counted: set[int] = field(default_factory=set)
    """Shards whose footers have been read, and are in the counts."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to learn."""
        return self.progress.rows_done == self.counts.rows == self.sharding.rows

    def count(self, shard: int, counts: Counts) -> None:
        """Adds a part."""
        self.counted.add(shard)
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
            return self._runs.setdefault(output, _Run(run.sharding, Progress(run.rows)))


def _update(run: _Run, folder: RunFolder, budget: Budget) -> None:
    shards = [shard for shard in folder.shards() if shard < run.sharding.count]
    uncounted = [shard for shard in shards if shard not in run.counted]
    uncounted = uncounted[: budget.take(len(uncounted))]
    for shard, counts in zip(uncounted, folder.counts(uncounted), strict=True):
        run.count(shard, counts)
    run.progress = run.progress._replace(rows_done=sum(run.sharding.size(shard) for shard in shards))
