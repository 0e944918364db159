"""One step of the scale benchmark in a process of its own: plan a manifest, or scan it.

    python -m benchmarks.scale_process plan FOLDER ROWS     # write a manifest of ROWS rows and plan a scan of it
    python -m benchmarks.scale_process scan FOLDER          # scan it, or resume

Each prints one line of JSON.
"""

import itertools
import json
import os
import sys
import time
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
from fakescan.scan import driver
from fakescan.scan.config import ScanConfig
from fakescan.scan.stages import Decode
from fakescan.scan.tables import PartSummary
from fakescan.storage.store import Store

BATCH_ROWS = 100_000
SAMPLE_S = 0.25


def main() -> None:
    """Do the step that the command line names."""
    folder = Path(sys.argv[2])
    found = plan(folder, int(sys.argv[3])) if sys.argv[1] == "plan" else scan(folder)
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


def plan(folder: Path, rows: int) -> dict[str, Any]:
    """Write the manifest, list what is done, make the dataset; times in seconds, memory of this process in bytes."""
    from fakescan.cluster import connect
    from fakescan.run.parts import DEFAULT_SHARD_ROWS, Sharding
    from fakescan.scan.ledger import remote_ledger
    from fakescan.sources.manifest import write_manifest

    marks = [time.monotonic()]
    run = RunFolder(str(folder), Store())
    info = write_manifest(entries(rows), run.fs, f"{run.path}/manifest", source="memory://bucket")
    marks.append(time.monotonic())
    manifest_bytes = peak_bytes()
    connect()
    marks.append(time.monotonic())
    before = resident_bytes(os.getpid())
    todo = run.missing(Sharding(info.rows, DEFAULT_SHARD_ROWS))
    marks.append(time.monotonic())
    dataset = pipeline(run, info.rows).dataset(todo, remote_ledger())
    marks.append(time.monotonic())
    assert dataset is not None
    manifest_s, _, list_s, dataset_s = (after - start for start, after in itertools.pairwise(marks))
    return {
        "rows": info.rows,
        "shards": len(todo),
        "manifest_s": manifest_s,
        "list_s": list_s,
        "dataset_s": dataset_s,
        "manifest_peak_mb": manifest_bytes / 1e6,
        "dataset_mb": (resident_bytes(os.getpid()) - before) / 1e6,
        "peak_mb": peak_bytes() / 1e6,
    }


def pipeline(run: RunFolder, rows: int) -> Any:
    """The pipeline of a scan with the simulated engine, without running it."""
    from fakescan.engine.config import SimulatedConfig
    from fakescan.engine.judging_options import JudgingOptions
    from fakescan.run.identity import Identity, Selection
    from fakescan.run.parts import DEFAULT_SHARD_ROWS
    from fakescan.run.run_file import new_run
    from fakescan.scan.judge import JudgeSettings
    from fakescan.scan.pipeline import Pipeline
    from fakescan.scan.stages import Write
    from fakescan.settings.replicas import Replicas
    from fakevlm.prompt import PromptSpec

    identity = Identity(
        selection=Selection(source="memory://bucket"), engine="fake", dtype=None, weights_sha256="", trained=False,
        prompt=PromptSpec(), image=SPEC, ask=JudgingOptions(), max_bytes=2**26, max_pixels=10**8,
    )  # fmt: skip
    file = new_run(
        identity, "fake-engine", None, fingerprint="", rows=rows, population=rows, shard_rows=DEFAULT_SHARD_ROWS
    )
    judge = JudgeSettings(
        SimulatedConfig(), "cpu", "", Store(), "fake-engine", "", JudgingOptions(), file.run_id, DEFAULT_SHARD_ROWS
    )
    fetch = MemoryFetch(run, file, Store(), 2**26, 32, 60.0, False)
    return Pipeline(fetch, Decode(SPEC, 10**8), judge, Write(run, file), Replicas(), 0.0, DEFAULT_SHARD_ROWS)


def scan(folder: Path) -> dict[str, Any]:
    """Scan FOLDER/manifest into FOLDER/run with the simulated engine; memory of the driver against rows done."""
    os.environ[BEGUN] = str(folder / "begun")
    started = process_started()
    parts: list[tuple[float, int]] = []
    memory: list[tuple[int, int]] = []
    done, sampled = 0, 0.0

    def observe(part: PartSummary) -> None:
        nonlocal done, sampled
        done += part.counts.rows
        parts.append((part.written_at, part.counts.rows))
        if time.monotonic() - sampled > SAMPLE_S:
            sampled = time.monotonic()
            memory.append((done, resident_bytes(os.getpid())))

    config = ScanConfig.model_validate(
        {
            "source": str(folder / "manifest"),
            "output": str(folder / "run"),
            "engine": {"kind": "fake"},
        }
    )
    with patch.multiple(driver, Fetch=MemoryFetch, Decode=lambda spec, *arguments: Decode(SPEC, *arguments)):
        driver.run_scan(config, observe=observe)
    parts.sort()
    eighth = len(parts) // 8
    return {
        "rows": done,
        "begun_s": float((folder / "begun").read_text()) - started,
        "first_part_s": parts[0][0] - started,
        "seconds": time.time() - started,
        "rows_s": sum(rows for _, rows in parts[eighth + 1 :]) / (parts[-1][0] - parts[eighth][0]),
        "memory": memory,
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
