"""What `fakescan report` takes for a run of a million rows: time, memory, size; killed and started again it continues.

    python benchmarks/audit_report.py                      # 1,000,000 rows, about 5 minutes on 2 cores
    python benchmarks/audit_report.py --rows 50000         # a look

The run is made by `report_run.py`: addresses, explanations and errors as a scan writes them, and small images of what
is flagged. Exits non-zero above a ceiling.

- `report`: the command, in a fresh process: seconds, CPU seconds of its tree, its peak memory, sizes of what it writes
- `killed`: the same into another folder, killed with SIGKILL when half of the files of rows exist; `continued`: the
  same command again, which must find all that was written
- `again`: the command once more, when everything is there
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.process_tree import CpuClock, watched
from benchmarks.report import ROOT, Report
from benchmarks.report_run import make_run
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store

PEAK_MB = 1500.0
"""Ceiling for the memory of the whole tree of processes."""
PAGE_MB = 10.0
"""Ceiling for the overview."""
_POLL_S = 0.05


def main() -> None:
    """Make a run, or take one that is there, and report on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="folder with the run and its images, made if it is not there")
    settings = parser.parse_args()
    report = Report("audit_report", {"rows": settings.rows})
    print(f"{settings.rows:,} rows\nmachine: {report.machine}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="fakescan-report-") as name:
        base = settings.folder or Path(name)
        run = base / "run"
        if not (run / "run.json").exists():
            make_run(RunFolder(str(run), Store()), (base / "images").absolute(), settings.rows)
        whole, broken = Path(name, "whole"), Path(name, "broken")
        report.add("report", **measured(run, whole), **sizes(whole))
        files = len(list(whole.rglob("rows-*.parquet")))
        report.add("killed", **measured(run, broken, kill_at=max(1, files // 2)))
        kept = {path.name: path.stat().st_mtime_ns for path in broken.rglob("rows-*.parquet")}
        report.add("continued", **measured(run, broken))
        after = {path.name: path.stat().st_mtime_ns for path in broken.rglob("rows-*.parquet")}
        report.add("again", **measured(run, broken))
        report.require("peak MB", report.median("report", "peak_mb"), PEAK_MB, at_least=False)
        report.require("overview MB", report.median("report", "overview_mb"), PAGE_MB, at_least=False)
        report.require(
            "files of rows made twice", sum(after[name] != at for name, at in kept.items()), 0, at_least=False
        )
        report.require("files that differ after the kill", different(whole, broken), 0, at_least=False)
    sys.exit(report.finish())


def measured(run: Path, target: Path, kill_at: int | None = None) -> dict[str, Any]:
    """Start the command; with `kill_at` kill it as soon as so many files of rows exist."""
    began = time.monotonic()
    command = [sys.executable, "-m", "fakescan.cli", "report", str(run), "-o", str(target), "--quiet"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"})
    clock = CpuClock(process.pid)
    with watched(process.pid, every_s=0.2) as seen:
        while process.poll() is None:
            clock.seconds()
            if kill_at is not None and len(list(target.rglob("rows-*.parquet"))) >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(_POLL_S)
        process.wait()
    if kill_at is None and process.returncode:
        sys.exit(f"fakescan report ended with exit status {process.returncode}")
    return {
        "seconds": time.monotonic() - began,
        "cpu_s": clock.seconds(),
        "peak_mb": seen.peak_bytes / 1e6,
        "others_cores": seen.others_cores,
    }


def sizes(target: Path) -> dict[str, float]:
    """Megabytes of what there is in a report."""
    found: dict[str, float] = {"overview_mb": (target / "report.html").stat().st_size / 1e6}
    for kind in ("rows", "facets", "folders", "thumbs"):
        found[f"{kind}_mb"] = sum(path.stat().st_size for path in target.rglob(f"{kind}*.parquet")) / 1e6
    return found


def different(whole: Path, broken: Path) -> int:
    """Files of the data that one report has and the other has not as they are."""

    def digests(root: Path) -> set[tuple[str, str]]:
        return {
            (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in root.rglob("*")
            if path.is_file() and path.parent.parent.name == "data"
        }

    return len(digests(whole) ^ digests(broken))


if __name__ == "__main__":
    main()
