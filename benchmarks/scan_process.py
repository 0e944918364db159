"""One scan in a process of its own: started by the benchmark with a job file, it leaves a file of what happened:

python -m benchmarks.scan_process JOB.json
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.process_tree import CpuClock, resident_bytes
from benchmarks.stamps import FOLDER, GO, HOLD, StampedDecode, StampedFetch
from fakescan.scan import driver
from fakescan.scan.config import ScanConfig
from fakescan.scan.tables import PartSummary


@dataclass
class Job:
    """What to scan and where to leave the measurements."""

    config: dict[str, Any]
    """For `ScanConfig`; secrets as env:NAME."""
    folder: str
    """For `measured.json` and the stages' time stamps."""
    hold: int | None = None
    """Shards that are fetched before the first part is written; see `stamps`. Default: no limit."""


@dataclass
class Measured:
    """What happened."""

    parts: list[dict[str, Any]] = field(default_factory=list)
    """Each written part's summary, in the order in which the driver heard of them."""
    tree_cpu_s: list[float] = field(default_factory=list)
    """CPU seconds of the whole tree of processes when the driver heard of each part."""
    driver_bytes: int = 0
    """Resident memory of the driver at the end."""
    processes: int = 0
    """Processes seen in the tree."""
    shard_rows: int = 0
    errors: int = 0


def run(job: Job) -> Measured:
    """Scan, and note what each part cost."""
    measured = Measured()
    clock = CpuClock(os.getpid())

    def observe(part: PartSummary) -> None:
        (Path(job.folder) / GO).touch()
        measured.parts.append(asdict(part))
        measured.tree_cpu_s.append(clock.seconds())

    outcome = driver.run_scan(ScanConfig.model_validate(job.config), observe=observe)
    measured.driver_bytes = resident_bytes(os.getpid())
    measured.processes = clock.processes
    measured.shard_rows = outcome.run.shard_rows
    measured.errors = outcome.whole.failed
    return measured


def main() -> None:
    """Read the job, run it, write `measured.json`."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    os.environ[FOLDER] = job.folder
    if job.hold is not None:
        os.environ[HOLD] = str(job.hold)
    with patch.multiple(driver, Fetch=StampedFetch, Decode=StampedDecode):
        measured = run(job)
    result = Path(job.folder) / "measured.json"
    result.write_text(json.dumps({**asdict(measured), "ended": time.time()}))


if __name__ == "__main__":
    main()
