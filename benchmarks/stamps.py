"""The scan's own fetch and decode stages, which also note when they finished each shard, and can be held back.

While an engine starts, the feed of a short scan would lay up all of its images, and nothing would be left to feed in
the steady state. Held back, fetch does the first few shards and goes on once the first part is written.
"""

import os
import time
from pathlib import Path

import pyarrow as pa

from fakescan.scan.stages import Decode, Fetch

FOLDER = "FAKESCAN_BENCH_STAMPS"
"""Environment variable: the folder for the notes, one file per process and stage."""
HOLD = "FAKESCAN_BENCH_HOLD"
"""Environment variable: the shards that fetch may do before the file `GO` stands in that folder. Not set: all."""
GO = "go"


class StampedFetch(Fetch):
    """Fetch, noting the time."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """See `Fetch`."""
        wait_for_go(table["shard"][0].as_py())
        result = super().__call__(table)
        stamp("fetch", result)
        return result


class StampedDecode(Decode):
    """Decode, noting the time."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """See `Decode`."""
        result = super().__call__(table)
        stamp("decode", result)
        return result


def wait_for_go(shard: int) -> None:
    """Return at once for the first shards, for the others when the first part has been written."""
    hold = os.environ.get(HOLD)
    while hold is not None and shard >= int(hold) and not (Path(os.environ[FOLDER]) / GO).exists():
        time.sleep(0.02)


def stamp(stage: str, table: pa.Table) -> None:
    """Note that a stage has just finished the shard with this table's rows."""
    with (Path(os.environ[FOLDER]) / f"{stage}-{os.getpid()}").open("a") as file:
        file.write(f"{table['row_id'][0].as_py()} {time.time()}\n")


def read_stamps(folder: Path, stage: str, shard_rows: int) -> dict[int, float]:
    """Shard to the Unix time at which the stage finished it; the first time, where it was done twice."""
    times: dict[int, float] = {}
    for path in folder.glob(f"{stage}-*"):
        for line in path.read_text().splitlines():
            row, at = line.split()
            shard = int(row) // shard_rows
            times[shard] = min(float(at), times.get(shard, float("inf")))
    return times
