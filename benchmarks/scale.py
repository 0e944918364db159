"""A million manifest rows through the whole scan, and a billion planned, with floors; exits non-zero beyond one.

    make bench-scale                                             # about 12 minutes on 2 cores
    python benchmarks/scale.py --only scan,restart --rows 50000  # a look, in a minute
    python benchmarks/scale.py --only plan                       # a billion rows, in a minute

The engine is simulated and images are served from memory, 16 x 16 pixels each, so that the scan itself is what is
measured: manifest, planning, Ray, the stages, parts, accounting. Manifest and parts are real files on the local disk.
Steps, each in a fresh process; --only chooses some:

scan      write a manifest of --rows rows and scan it: rows/s, peak of the driver's memory, `fakescan verify`
restart   (after scan) delete the parts of the last tenth of the rows and scan again: time until new work starts
plan      a simulated manifest of --plan-rows rows, no rows of it on disk: from nothing to the first part
schedule  many shards of few rows: the driver's CPU time and the growth of its memory for each shard, and from the size
          of a shard that a run of --plan-rows rows gets the images per second that one driver can schedule
slices    two drivers share a run of --rows / 20 rows with `--slice`, at the same time; `fakescan verify`
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.process_tree import watched
from benchmarks.report import ROOT, Report
from benchmarks.scale_process import MEAN_BYTES, entries
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name, shard_rows_for
from fakescan.run.verify import verify
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store

DRIVER_MB, RESTART_S = 1500.0, 20.0
PLAN_S, PLAN_MB = 60.0, 2000.0
SHARD_CPU_MS, SHARD_KB, IMAGES_S = 8.0, 1.5, 56_000.0
"""The last is what 800 H100s judge in a second."""
STEPS = ("scan", "restart", "plan", "schedule", "slices")
SMALL_SHARD = 16
"""Rows of a shard where shards are what is measured."""


def main() -> None:
    """Parse, run the steps, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(STEPS), help="steps to run, such as plan,schedule")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--plan-rows", type=int, default=1_000_000_000)
    parser.add_argument("--shards", type=int, default=20_000, help="shards of the step schedule")
    settings = parser.parse_args()
    only = settings.only.split(",")
    if unknown := set(only) - set(STEPS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(STEPS)}")
    report = Report("scale", {**vars(settings), "images": "from memory", "engine": "fake"})
    print(f"simulated engine, images from memory (16 x 16 PNG)\nmachine: {report.machine}\n", flush=True)
    if {"scan", "restart"} & set(only):
        with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
            run = new_manifest(Path(name), settings.rows)
            scan_all(report, Path(name))
            account(report, run, settings.rows)
            if "restart" in only:
                restart(report, Path(name), run)
                account(report, run, settings.rows)
    if "plan" in only:
        plan(report, settings.plan_rows)
    if "schedule" in only:
        schedule(report, settings.shards, settings.plan_rows)
    if "slices" in only:
        slices(report, settings.rows // 20)
    sys.exit(report.finish())


def new_manifest(folder: Path, rows: int) -> RunFolder:
    """A manifest to scan, and where its run will be."""
    run = RunFolder(str(folder / "run"), Store())
    write_manifest(entries(rows), run.fs, str(folder / "manifest"), source="memory://bucket")
    return run


def scan_all(report: Report, folder: Path) -> None:
    """Scan all of it."""
    found = step("scan", str(folder))
    memory = found.pop("samples")
    report.add("scan", **found)
    report.measurements["driver memory"] = [{"shards": at, "mb": round(size / 1e6)} for at, _, size in memory[::20]]
    report.require("driver's peak, MB", found["peak_mb"], DRIVER_MB, at_least=False)


def restart(report: Report, folder: Path, run: RunFolder) -> None:
    """Scan the last tenth again."""
    sharding = run.open().sharding
    for shard in range(int(0.9 * sharding.count), sharding.count):
        (folder / "run" / "parts" / part_name(shard)).unlink()
    (folder / "begun").unlink()
    found = step("scan", str(folder))
    del found["samples"]
    report.add("restart", **found)
    name = "seconds until a restart with 90 % done starts new work"
    report.require(name, found["begun_s"], RESTART_S, at_least=False)


def plan(report: Report, rows: int) -> None:
    """From nothing to the first part of a big run."""
    with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
        planned = step("plan", name, str(rows))
    report.add("plan", **planned)
    report.require(f"seconds to plan {rows:,} rows", planned["plan_s"], PLAN_S, at_least=False)
    report.require(f"driver's peak MB with {rows:,} rows planned", planned["peak_mb"], PLAN_MB, at_least=False)


def schedule(report: Report, shards: int, rows: int) -> None:
    """What one shard costs the driver, and what follows for a run of `rows` rows."""
    with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
        run = new_manifest(Path(name), shards * SMALL_SHARD)
        found = step("scan", name, "--shard-rows", str(SMALL_SHARD))
        account(report, run, shards * SMALL_SHARD)
    samples = found.pop("samples")
    cpu_ms, kb = slope(samples, 1, 1e3), slope(samples, 2, 1e-3)
    shard_rows = shard_rows_for(rows, rows * MEAN_BYTES)
    images_s = None if not cpu_ms else shard_rows / cpu_ms * 1e3
    report.add("schedule", **found, cpu_ms_per_shard=cpu_ms, kb_per_shard=kb, shard_rows=shard_rows, images_s=images_s)
    report.require("driver's CPU milliseconds for each shard", cpu_ms, SHARD_CPU_MS, at_least=False)
    report.require("driver's growth for each shard, kB", kb, SHARD_KB, at_least=False)
    name = f"images/s that one driver can schedule, {shard_rows} rows in a shard"
    report.require(name, images_s, IMAGES_S)


def slices(report: Report, rows: int) -> None:
    """Two drivers on one run."""
    with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
        run = new_manifest(Path(name), rows)
        with ThreadPoolExecutor() as both:
            found = list(both.map(lambda part: step("scan", name, "--slice", part), ("1/2", "2/2")))
        for one in found:
            del one["samples"]
            report.add("slices", **one)
        done = sum(one["rows"] for one in found)
        report.require("rows scanned by two drivers together, as a share", done / rows, 1.0)
        report.require("rows scanned twice", float(done - rows), 0.0, at_least=False)
        account(report, run, rows)


def account(report: Report, run: RunFolder, rows: int) -> None:
    """`fakescan verify`."""
    checked = verify(run)
    for problem in checked.problems[:5]:
        print(problem)
    report.require("rows accounted for, as a share", checked.counts.rows / rows if not checked.problems else 0.0, 1.0)


def slope(samples: list[tuple[int, float, int]], column: int, factor: float) -> float | None:
    """Growth of a column of the samples with each shard, by least squares after the first fifth of the shards."""
    last = samples[-1][0] if samples else 0
    points = np.array([(sample[0], sample[column]) for sample in samples if sample[0] >= last / 5], dtype=float)
    return float(np.polyfit(points[:, 0], points[:, 1], 1)[0]) * factor if len(points) >= 3 else None


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
