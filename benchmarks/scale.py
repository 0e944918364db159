"""A million manifest rows through the whole scan, with floors; exits non-zero beyond one.

    make bench-scale                                    # about 8 minutes on 2 cores
    python benchmarks/scale.py --rows 50000             # a look, in a minute

The engine is simulated and images are served from memory, 16 x 16 pixels each, so that the scan itself is what is
measured: manifest, planning, Ray, the four stages, parts, accounting. Manifest and parts are real files on the local
disk. Steps, each in a fresh process:

1. write a manifest of --rows rows and scan it: rows/s, growth and peak of the driver's memory, `fakescan verify`
2. delete the parts of the last tenth of the rows and scan again: time until new work starts
3. write a manifest of ten times the rows and plan its scan without running it
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_tree import watched
from benchmarks.report import ROOT, Report
from benchmarks.scale_process import entries
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.verify import verify
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store

SLOPE_MB, DRIVER_MB, RESTART_S, PLAN_S = 50.0, 1500.0, 20.0, 120.0


def main() -> None:
    """Parse, run the steps, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--plan-rows", type=int, help="default: ten times --rows")
    settings = parser.parse_args()
    plan_rows = settings.plan_rows or 10 * settings.rows
    report = Report("scale", {"rows": settings.rows, "plan_rows": plan_rows, "images": "from memory", "engine": "fake"})
    print(f"simulated engine, images from memory (16 x 16 PNG)\nmachine: {report.machine}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
        folder = Path(name)
        whole = RunFolder(str(folder / "run"), Store())
        write_manifest(entries(settings.rows), whole.fs, str(folder / "manifest"), source="memory://bucket")
        scan_all(report, folder)
        account(report, whole, settings.rows)
        restart(report, folder, whole)
        account(report, whole, settings.rows)
    with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
        planned = step("plan", name, str(plan_rows))
        report.add("plan", **planned)
    seconds = planned["list_s"] + planned["dataset_s"]
    report.require(f"seconds to plan {plan_rows:,} rows", seconds, PLAN_S, at_least=False)
    report.require(f"peak MB of planning {plan_rows:,} rows", planned["peak_mb"], DRIVER_MB, at_least=False)
    sys.exit(report.finish())


def scan_all(report: Report, folder: Path) -> None:
    """Step 1."""
    found = step("scan", str(folder))
    memory = found.pop("memory")
    slope = growth_mb(memory)
    report.add("scan", **found, mb_per_100k_rows=slope)
    report.measurements["driver memory"] = [{"rows": rows, "mb": round(size / 1e6)} for rows, size in memory[::20]]
    report.require("driver's growth, MB per 100,000 rows", slope, SLOPE_MB, at_least=False)
    report.require("driver's peak, MB", found["peak_mb"], DRIVER_MB, at_least=False)


def restart(report: Report, folder: Path, run: RunFolder) -> None:
    """Step 2."""
    sharding = run.open().sharding
    for shard in range(int(0.9 * sharding.count), sharding.count):
        (folder / "run" / "parts" / part_name(shard)).unlink()
    (folder / "begun").unlink()
    found = step("scan", str(folder))
    del found["memory"]
    report.add("restart", **found)
    name = "seconds until a restart with 90 % done starts new work"
    report.require(name, found["begun_s"], RESTART_S, at_least=False)


def account(report: Report, run: RunFolder, rows: int) -> None:
    """`fakescan verify`."""
    checked = verify(run)
    for problem in checked.problems[:5]:
        print(problem)
    report.require("rows accounted for, as a share", checked.counts.rows / rows if not checked.problems else 0.0, 1.0)


def growth_mb(memory: list[tuple[int, int]]) -> float | None:
    """Slope of memory over rows by least squares after the first tenth, in MB per 100,000 rows."""
    last = memory[-1][0] if memory else 0
    points = np.array([point for point in memory if point[0] >= last / 10], dtype=float)
    if len(points) < 3:
        return None
    return float(np.polyfit(points[:, 0] / 1e5, points[:, 1] / 1e6, 1)[0])


def step(*arguments: str) -> dict[str, Any]:
    """Run a step in a fresh process; what it printed."""
    command = [sys.executable, "-m", "benchmarks.scale_process", *arguments]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        watched(process.pid) as seen,
    ):
        output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return {**found, "tree_peak_mb": seen.peak_bytes / 1e6, "others_cores": seen.others_cores}


if __name__ == "__main__":
    main()
