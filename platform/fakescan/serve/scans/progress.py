"""How far a scan is, read from its run folder: run.json, one listing of the parts, and their footers."""

import json
import logging
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from pydantic import BaseModel

from fakescan.serve.scans.state import ScanCounts
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.store import Store
from fakescan.storage.url import redact

logger = logging.getLogger(__name__)

FOOTERS_PER_CALL = 256
"""Footers of parts that one request may read, each in about 4 ms of CPU time; what is left is read by the next ones."""

_AT_ONCE = 16
_REMEMBERED = 200
_PART = re.compile(r"part-(\d{8})\.parquet")
_COUNTS_KEY = b"fakescan.counts"


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

    def take(self, wanted: int) -> int:
        """As many as are wanted, or what is left."""
        with self._lock:
            taken = min(wanted, self._left)
            self._left -= taken
            return taken


class _RunFile(BaseModel):
    """What of run.json is of interest; `fakescan.run.folder.RunFile` says what it means."""

    rows: int
    shard_rows: int


@dataclass
class _Run:
    """What is known of one run folder. Parts are written whole and stay as they are."""

    rows: int
    shard_rows: int
    progress: Progress
    counted: set[int] = field(default_factory=set)
    """Shards whose footers have been read, and are in the progress's counts."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to learn."""
        return self.progress.rows_done == self.rows == _sum(self.progress.counts)

    def rows_of(self, shards: Iterable[int]) -> int:
        """Rows in these shards; the last one may be short."""
        return sum(max(0, min(self.shard_rows, self.rows - shard * self.shard_rows)) for shard in shards)


class ProgressReader:
    """Reads run folders of one store, and remembers what does not change. Called by several threads at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fakescan-footers")

    def read(self, output: str, budget: Budget) -> Progress:
        """The progress of the run in a folder. A store that is away is logged, and what was known stays so."""
        run = self._runs.get(output)
        if run is not None and run.is_complete:
            return run.progress
        try:
            fs, path = self._store.filesystem(output, attempts=1)
            run = run or self._open(fs, path, output)
            if run is None:
                return NOTHING_DONE
            with run.lock:
                self._update(run, fs, f"{path}/parts", budget)
        except store_errors() as error:
            logger.warning("the progress of %s cannot be read: %s", redact(output), classify(error)[1])
        return run.progress if run is not None else NOTHING_DONE

    def _open(self, fs: AbstractFileSystem, path: str, output: str) -> _Run | None:
        try:
            text = fs.cat_file(f"{path}/run.json")
        except FileNotFoundError:
            return None
        facts = _RunFile.model_validate_json(text)
        run = _Run(facts.rows, facts.shard_rows, Progress(facts.rows))
        with self._lock:
            while len(self._runs) >= _REMEMBERED:
                del self._runs[next(iter(self._runs))]
            return self._runs.setdefault(output, run)

    def _update(self, run: _Run, fs: AbstractFileSystem, parts: str, budget: Budget) -> None:
        try:
            names = fs.ls(parts, detail=False)
        except FileNotFoundError:
            names = []
        matches = (_PART.fullmatch(str(name).rpartition("/")[2]) for name in names)
        shards = {int(match[1]) for match in matches if match}
        new = sorted(shards - run.counted)
        new = new[: budget.take(len(new))]
        for shard, counts in zip(new, self._pool.map(lambda shard: _count(fs, parts, shard), new), strict=True):
            run.counted.add(shard)
            run.progress = run.progress._replace(counts=_add(run.progress.counts, counts))
        run.progress = run.progress._replace(rows_done=run.rows_of(shards))


def _count(fs: AbstractFileSystem, parts: str, shard: int) -> ScanCounts:
    """A part's counts, which its footer holds."""
    with fs.open(f"{parts}/part-{shard:08d}.parquet", "rb", block_size=65536) as file:
        facts = json.loads((pq.read_metadata(file).metadata or {}).get(_COUNTS_KEY, b"{}"))
    errors = sum(facts.get("errors", {}).values())
    return ScanCounts(
        real=facts.get("real", 0), fake=facts.get("fake", 0), uncertain=facts.get("uncertain", 0), errors=errors
    )


def _add(one: ScanCounts, other: ScanCounts) -> ScanCounts:
    return ScanCounts(**{name: getattr(one, name) + getattr(other, name) for name in ScanCounts.model_fields})


def _sum(counts: ScanCounts) -> int:
    return sum(counts.model_dump().values())
