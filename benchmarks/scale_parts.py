"""What a part of a run costs after the scan: to count, to verify and to merge it; exits non-zero above a ceiling.

    python benchmarks/scale_parts.py                    # 20,000 parts of 256 rows, about 6 minutes on 2 cores
    python benchmarks/scale_parts.py --parts 2000       # a look

The parts are real files on the local disk, with addresses and explanations as a scan writes them. Each step is a fresh
process that works alone, on its threads, so that its CPU time is what a part costs; `ray` does the same verify with all
cores of this machine.

- `read`: the facts of all parts, none of which the cache knows: what the first resume of an old run reads
- `cached`: the same again: what every other resume, count and summary of a scan's progress reads
- `footers`: rows by verdict, from the parts' footers
- `verify`, `compact`; `again`: a compact that finds its files right; `verify+`: verify with merged files
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.process_tree import watched
from benchmarks.report import ROOT, Report
from benchmarks.scale_process import entries
from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.compact import compact
from fakescan.run.facts.run_facts import count_run, read_facts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes, part_name
from fakescan.run.run_file import RunFile, new_run
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.run.verify import verify
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from fakevlm.verdict import Calibration, calibrated

SHARD_ROWS = 256
VERIFY_MS, READ_MS, CACHED_MS, COMPACT_MS = 8.0, 2.0, 0.05, 8.0
"""Ceilings in CPU milliseconds for each part."""
BILLION_PARTS = 1e9 / SHARD_ROWS
CLUSTER_CPUS = 1600
"""Of a hundred nodes with 16 cores each."""


def main() -> None:
    """Make a run, take the steps, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=20_000)
    parser.add_argument("--step", nargs=2, metavar=("NAME", "FOLDER"), help="take one step, and print it as JSON")
    settings = parser.parse_args()
    if settings.step:
        name, folder = settings.step
        print(json.dumps(timed(STEPS[name], RunFolder(folder, Store()))))
        return
    report = Report("scale_parts", {"parts": settings.parts, "shard_rows": SHARD_ROWS})
    print(f"{settings.parts:,} parts of {SHARD_ROWS} rows\nmachine: {report.machine}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="fakescan-scale-") as name:
        folder = RunFolder(f"{name}/run", Store())
        make(folder, settings.parts)
        for step in STEPS:
            report.add(step, **in_process(step, folder, settings.parts))
    for step, limit in (("verify", VERIFY_MS), ("read", READ_MS), ("cached", CACHED_MS), ("compact", COMPACT_MS)):
        report.require(f"CPU-ms for each part: {step}", report.median(step, "cpu_ms"), limit, at_least=False)
    for step in ("read", "verify", "compact"):
        cpu_ms = report.median(step, "cpu_ms") or 0.0
        hours = cpu_ms * BILLION_PARTS / 3.6e6
        print(f"{step}: a billion rows are {hours:.1f} CPU hours, {60 * hours / CLUSTER_CPUS:.1f} min on 1,600 cores")
    sys.exit(report.finish())


def make(folder: RunFolder, parts: int) -> None:
    """Write a finished run."""
    from benchmarks.scale_process import pipeline

    rows = parts * SHARD_ROWS
    info = write_manifest(entries(rows), folder.fs, f"{folder.path}/manifest", source="memory://bucket", unique=True)
    identity = pipeline(folder, rows, SHARD_ROWS).write.run.identity
    run = new_run(
        identity, "fake-engine", None, fingerprint=info.fingerprint, rows=rows, population=rows, shard_rows=SHARD_ROWS
    )
    folder.save(run)
    Path(folder.parts).mkdir(parents=True)
    reader, started = folder.manifest(run), time.monotonic()
    for shard in range(parts):
        manifest = reader.rows(shard * SHARD_ROWS, SHARD_ROWS)
        data = part_bytes(results(run, manifest), run.sharding, shard)
        Path(folder.parts, part_name(shard)).write_bytes(data)  # without the disk's patience
    print(f"made in {time.monotonic() - started:.0f} s, {len(data) / 1e3:.1f} kB each\n", flush=True)


def results(run: RunFile, manifest: pa.Table) -> pa.Table:
    """Rows as a scan writes them: 2 % are errors, and the fakes are explained."""
    from fakescan.run.object_key import source_key

    draw = np.random.default_rng(manifest["row_id"][0].as_py())
    count = manifest.num_rows
    logits = draw.normal(0, 3, count).astype(np.float32)
    failed = draw.random(count) < 0.02
    scores = calibrated(logits.astype(np.float64), Calibration())
    good, is_fake = pa.array(~failed), pa.array(scores >= 0.5)

    def unless_failed(values: Any, kind: pa.DataType) -> pa.Array:
        column = pa.array(values, kind)
        return pc.if_else(good, column, pa.nulls(count, kind))

    words = "This is a fake image. The texture of the skin near the left ear is smooth, and the shadows disagree, {}."
    texts = [words.format(number) for number in draw.integers(0, 10**9, count)]
    uris = manifest["uri"].combine_chunks()
    columns = {
        "row_id": manifest["row_id"],
        "uri": uris,
        "sha256": unless_failed([draw.bytes(32).hex() for _ in range(count)], pa.string()),
        "width": unless_failed(draw.integers(200, 4000, count), pa.int32()),
        "height": unless_failed(draw.integers(200, 4000, count), pa.int32()),
        "format": unless_failed(["JPEG"] * count, pa.string()),
        "num_bytes": unless_failed(draw.integers(10_000, 900_000, count), pa.int64()),
        "verdict": pc.if_else(good, pc.if_else(is_fake, "fake", "real"), pa.scalar(None, pa.string())),
        "score": unless_failed(scores.astype(np.float32), pa.float32()),
        "logit": unless_failed(logits, pa.float32()),
        "off_script": unless_failed(draw.random(count).astype(np.float32) / 100, pa.float32()),
        "explanation": pc.if_else(pc.and_(good, is_fake), pa.array(texts), pa.scalar(None, pa.string())),
        "error_code": pc.if_else(good, pa.scalar(None, pa.string()), "not_found"),
        "error_message": pc.if_else(good, pa.scalar(None, pa.string()), "NoSuchKey"),
        "model": pa.array([run.model] * count),
        "run_id": pa.array([run.run_id] * count),
        "scanned_at": pa.array([datetime.now(UTC)] * count, pa.timestamp("us", tz="UTC")),
        "source_key": pa.array([source_key(uri) for uri in uris.to_pylist()]),
        "etag": manifest["etag"],
        "version": pa.nulls(count, pa.string()),
        "last_modified": pa.nulls(count, pa.timestamp("us", tz="UTC")),
        "phash": unless_failed([draw.bytes(32).hex() for _ in range(count)], pa.string()),
    }
    rest = {field.name: pa.nulls(count, field.type) for field in RESULT_SCHEMA if field.nullable}
    return pa.table([{**rest, **columns}[name] for name in RESULT_SCHEMA.names], schema=RESULT_SCHEMA)


def facts(folder: RunFolder) -> None:
    """Read the facts of all parts."""
    run = folder.open()
    found = read_facts(folder, run, folder.listing().below(run.sharding.count))
    assert not len(found.damaged)


def footers(folder: RunFolder) -> None:
    """Count without a cache."""
    for file in Path(folder.path, "cache").glob("*"):
        file.unlink()
    count_run(folder, folder.open())


def prove(folder: RunFolder, workers: Workers = HERE) -> None:
    """Verify."""
    found = verify(folder, workers=workers)
    assert not found.problems, found.problems


def fingerprint(folder: RunFolder) -> None:
    """What of verify is not done by parts."""
    folder.manifest(folder.open()).compute_fingerprint()


STEPS: dict[str, Callable[[RunFolder], Any]] = {
    "read": facts,
    "cached": facts,
    "footers": footers,
    "fingerprint": fingerprint,
    "verify": prove,
    "ray": lambda folder: prove(folder, Workers(fewest=1)),
    "compact": compact,
    "again": compact,
    "verify+": prove,
}


def timed(step: Callable[[RunFolder], Any], folder: RunFolder) -> dict[str, float]:
    """Seconds and CPU seconds of a step, and this process's peak of memory."""
    before, started = time.process_time(), time.monotonic()
    step(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"seconds": time.monotonic() - started, "cpu_s": time.process_time() - before, "peak_mb": peak}


def in_process(step: str, folder: RunFolder, parts: int) -> dict[str, float]:
    """Take a step in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.scale_parts", "--step", step, folder.url]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        watched(process.pid) as seen,
    ):
        output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    found: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    per_part = {"ms": 1e3 * found["seconds"] / parts, "cpu_ms": 1e3 * found["cpu_s"] / parts}
    return {**per_part, **found, "others_cores": seen.others_cores}


if __name__ == "__main__":
    main()
