"""One step of the scale benchmark in a process of its own: plan a simulated manifest, or scan one.

    python -m benchmarks.scale_process plan FOLDER ROWS                          # up to the first part
    python -m benchmarks.scale_process scan FOLDER [--slice I/N] [--shard-rows N]  # scan it, or resume

Each prints one line of JSON.
"""

import argparse
import contextlib
import json
import os
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.memory_fetch import BEGUN, SPEC, MemoryFetch
from benchmarks.process_tree import resident_bytes
from fakescan.run.folder import RunFolder
from fakescan.run.parts import shard_rows_for
from fakescan.scan import driver
from fakescan.scan.config import ScanConfig
from fakescan.scan.stages import Decode
from fakescan.scan.tables import PartSummary
from fakescan.storage.store import Store

BATCH_ROWS = 100_000
MEAN_BYTES = 525_088
"""Of the sizes that `entries` gives."""
SAMPLE_S = 0.25


def main() -> None:
    """Do the step that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("plan", "scan"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="?", default=0)
    parser.add_argument("--slice")
    parser.add_argument("--shard-rows", type=int)
    given = parser.parse_args()
    if given.step == "plan":
        found = plan(given.folder, given.rows)
    else:
        found = scan(given.folder, slice=given.slice, shard_rows=given.shard_rows)
    print(json.dumps(found))


def entries(rows: int) -> Iterator[pa.Table]:
    """Entries as a listing of a bucket gives them: distinct URIs of about 60 characters, sizes and etags."""
    for first in range(0, rows, BATCH_ROWS):
        number = pa.array(np.arange(first, min(first + BATCH_ROWS, rows), dtype=np.int64))
        name = pc.utf8_lpad(number.cast(pa.string()), 12, "0")
        folder = pc.utf8_slice_codeunits(name, 0, 8)
        file = pc.binary_join_element_wise(name, "png", ".")
        uri = pc.binary_join_element_wise("memory://bucket/crawl-2026-11/images", folder, file, "/")
        etag = pc.binary_join_element_wise("9b2cf535f27731c974343645", name, "")
        yield pa.table({"uri": uri, "size": pc.add(pc.bit_wise_and(number, 0xFFFFF), 800), "etag": etag})


class SimulatedManifestFetch(MemoryFetch):
    """Fetches a shard of a manifest that is on no disk: its rows are made as they are asked for."""

    def _rows(self, shard: int) -> pa.Table:
        first, size = self.run.sharding.first(shard), self.run.sharding.size(shard)
        row_id = pa.array(np.arange(first, first + size, dtype=np.int64))
        return pa.table(
            {"row_id": row_id, "uri": pc.binary_join_element_wise("memory://b/", row_id.cast("string"), "")}
        )


def plan(folder: Path, rows: int) -> dict[str, Any]:
    """Plan a scan of `rows` rows and run it to its first part; times in seconds."""
    from fakescan.cluster import connect, ray_session
    from fakescan.scan.ledger import remote_ledger
    from fakescan.scan.start.plan import make_plan

    os.environ[BEGUN] = str(folder / "begun")
    shard_rows = shard_rows_for(rows, rows * MEAN_BYTES)
    run = RunFolder(str(folder), Store())
    stages = pipeline(run, rows, shard_rows)
    with ray_session():
        started = time.monotonic()
        connect()
        connected = time.monotonic()
        planned = make_plan(run, stages.write.run, retry_errors=False)
        made = time.monotonic()
        with contextlib.closing(stages.run(planned.todo, remote_ledger())) as parts:
            next(parts)
            begun = time.monotonic()
            peak = peak_bytes()
    return {
        "rows": rows,
        "shards": len(planned.todo),
        "shard_rows": shard_rows,
        "ray_s": connected - started,
        "make_plan_s": made - connected,
        "plan_s": begun - connected,
        "peak_mb": peak / 1e6,
    }


def pipeline(run: RunFolder, rows: int, shard_rows: int) -> Any:
    """The pipeline of a scan with the simulated engine, without running it."""
    from fakescan.engine.config import SimulatedConfig
    from fakescan.engine.judging_options import JudgingOptions
    from fakescan.run.identity import Identity, Selection
    from fakescan.run.run_file import new_run
    from fakescan.scan.judge import JudgeSettings
    from fakescan.scan.pipeline import Pipeline
    from fakescan.scan.stages import Write
    from fakescan.settings.replicas import Replicas
    from fakevlm.builtin import BUILT_IN
    from fakevlm.checkpoint.checkpoint import open_checkpoint
    from fakevlm.prompt import PromptSpec
    from fakevlm.reading import Meaning, Reader

    weights = open_checkpoint(str(BUILT_IN)).weights_sha256
    identity = Identity(
        selection=Selection(source="memory://bucket"), engine="fake", dtype=None, weights_sha256=weights, trained=False,
        prompt=PromptSpec(), image=SPEC, ask=JudgingOptions(), max_bytes=2**26, max_pixels=10**8,
    )  # fmt: skip
    file = new_run(identity, "fake-engine", None, fingerprint="", rows=rows, population=rows, shard_rows=shard_rows)
    options = JudgingOptions()
    judge = JudgeSettings(
        SimulatedConfig(), "cpu", None, Store(), "fake-engine", weights, options, file.run_id, shard_rows,
        Reader(Meaning.NONE, options.calibration, SPEC),
    )  # fmt: skip
    fetch = SimulatedManifestFetch(run, file, Store(), 2**26, 32, 60.0, False)
    return Pipeline(fetch, Decode(SPEC, 10**8), judge, Write(run, file), Replicas(), 0.0, shard_rows)


def scan(folder: Path, **settings: Any) -> dict[str, Any]:
    """Scan FOLDER/manifest into FOLDER/run with the simulated engine.

    `samples`: shards done, CPU seconds of the driver, and its memory in bytes.
    """
    os.environ[BEGUN] = str(folder / "begun")
    started = process_started()
    # Arrays, and no objects for each part: the growth of this process is what is measured.
    written_at, part_rows = array("d"), array("q")
    samples: list[tuple[int, float, int]] = []
    sampled = 0.0

    def observe(part: PartSummary) -> None:
        nonlocal sampled
        written_at.append(part.written_at)
        part_rows.append(part.counts.rows)
        if time.monotonic() - sampled > SAMPLE_S:
            sampled = time.monotonic()
            samples.append((len(written_at), time.process_time(), resident_bytes(os.getpid())))

    config = ScanConfig.model_validate(
        {
            "source": str(folder / "manifest"),
            "output": str(folder / "run"),
            "engine": {"kind": "fake"},
            "explain": "none",
            **settings,
        }
    )
    with patch.multiple(
        driver, Fetch=MemoryFetch, Decode=lambda spec, *arguments, **more: Decode(SPEC, *arguments, **more)
    ):
        driver.run_scan(config, observe=observe)
    parts = sorted(zip(written_at, part_rows, strict=True))
    eighth = len(parts) // 8
    return {
        "rows": sum(rows for _, rows in parts),
        "shards": len(parts),
        "begun_s": float((folder / "begun").read_text()) - started,
        "first_part_s": parts[0][0] - started,
        "seconds": time.time() - started,
        "rows_s": sum(rows for _, rows in parts[eighth + 1 :]) / (parts[-1][0] - parts[eighth][0]),
        "samples": samples,
        "peak_mb": peak_bytes() / 1e6,
    }


def process_started() -> float:
    """Unix time at which this process began."""
    return float(psutil.Process().create_time())


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
