"""How long shards take in each stage, and how many are where."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.telemetry.metric import Counter, Gauge

SHORT_ID = 8
"""Characters of a run's id that are its label `run`."""

Stage = Literal["fetch", "decode", "judge", "write"]

SECONDS = Counter(
    "fakescan_scan_stage_seconds",
    "Seconds that shards spent in a stage: fetch, decode, judge, write. Its rate is how many are in it on average.",
    "run", "stage",
)  # fmt: skip
SHARDS_OUT = Counter("fakescan_scan_stage_shards", "Shards that have left a stage.", "run", "stage")
FETCHED_BYTES = Counter("fakescan_scan_fetched_bytes", "Bytes of the images that were fetched.", "run")
SHARDS = Gauge(
    "fakescan_scan_shards",
    "Shards of the scan by where they are: waiting, feed (fetch and decode), decoded (waiting for an engine), judge.",
    "run", "stage",
)  # fmt: skip


@contextmanager
def in_stage(run_id: str, stage: Stage) -> Iterator[None]:
    """A shard is in this stage meanwhile. One that fails with an exception is not counted: it comes again."""
    started = time.perf_counter()
    yield
    labels = {"run": run_id[:SHORT_ID], "stage": stage}
    SECONDS.add(time.perf_counter() - started, **labels)
    SHARDS_OUT.add(1, **labels)


def fetched_bytes(run_id: str, table: pa.Table) -> None:
    """Count the bytes in the column `data` of a shard that was fetched."""
    FETCHED_BYTES.add(pc.sum(pc.binary_length(table["data"]), min_count=0).as_py(), run=run_id[:SHORT_ID])


@dataclass(frozen=True)
class ShardLevels:
    """Records how many shards are where. Pickles: Ray Data takes it along to its tasks."""

    run_id: str

    def record(self, *, waiting: int, feed: int, decoded: int, judge: int) -> None:
        """Called by the driver every few seconds."""
        levels = {"waiting": waiting, "feed": feed, "decoded": decoded, "judge": judge}
        for stage, shards in levels.items():
            SHARDS.set(max(shards, 0), run=self.run_id[:SHORT_ID], stage=stage)
