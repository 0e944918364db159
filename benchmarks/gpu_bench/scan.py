"""The whole scan, from files on the local disk to Parquet, with Ray and one engine.

python -m benchmarks.gpu_bench.scan PLAN.json
"""

import itertools
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.gpu_bench import steps
from benchmarks.gpu_bench.children import answer
from benchmarks.scan_process import Job, run
from benchmarks.stamps import FOLDER, HOLD, StampedDecode, StampedFetch
from benchmarks.steady import WARM, in_order, steady_window
from fakescan.scan import driver, pipeline
from fakescan.scan.tables import PartSummary

HOLD_SHARDS = 3
"""Shards that are fetched before the first part is written: see benchmarks/stamps.py."""
PARTS = 48
"""Parts of a run at least, if it has images enough: to tell a rate from."""


@dataclass(frozen=True)
class ScanPlan:
    """What to scan."""

    config: dict[str, Any]
    """For `ScanConfig`."""
    folder: str
    """For the stages' time stamps."""


def measure(given: dict[str, Any]) -> dict[str, Any]:
    """Scan, counting the engine's steps."""
    plan = ScanPlan(**given)
    os.environ |= {FOLDER: plan.folder, HOLD: str(HOLD_SHARDS)}
    with (
        patch.multiple(driver, Fetch=StampedFetch, Decode=StampedDecode),
        patch.object(pipeline, "JudgeAndWrite", steps.JudgeAndWrite),
    ):
        measured = run(Job(plan.config, plan.folder, HOLD_SHARDS))
    if measured.errors:
        raise RuntimeError(f"{measured.errors} of the images ended in an error")
    return asdict(measured)


def link_images(files: Sequence[Path], folder: Path, count: int) -> None:
    """A folder of `count` images: the files again and again, under new names and without more room on the disk."""
    folder.mkdir()
    for number in range(count):
        file = files[number % len(files)]
        name = folder / f"{number:07d}{file.suffix}"
        try:
            os.link(file, name)
        except OSError:
            shutil.copyfile(file, name)


def shard_rows_for(count: int) -> int:
    """Images of a part."""
    return min(64, max(4, count // PARTS))


def windows_of(
    parts: Sequence[PartSummary],
    tree_cpu_s: Sequence[float],
    fetched: Mapping[int, float],
    decoded: Mapping[int, float],
    count: int,
) -> tuple[list[dict[str, Any]], bool]:
    """The steady state cut into `count` windows, and whether there was one: else what follows the start-up.

    `parts` and `tree_cpu_s` in the order in which the driver heard of them.
    """
    clock = dict(zip((part.shard for part in parts), tree_cpu_s, strict=True))
    whole = in_order(parts)
    found = steady_window(parts, fetched, decoded)
    first, last = (found.first, found.last) if found is not None else (whole[len(whole) // WARM], whole[-1])
    inside = [part for part in whole if first.written_at <= part.written_at <= last.written_at]
    marks = [round(number * (len(inside) - 1) / count) for number in range(count + 1)]
    windows = []
    for begin, end in itertools.pairwise(marks):
        before, after = inside[begin], inside[end]
        seconds = after.written_at - before.written_at
        if begin == end or seconds <= 0:
            continue
        windows.append(
            {
                "began": before.written_at,
                "ended": after.written_at,
                "images": sum(part.counts.rows for part in inside[begin + 1 : end + 1]),
                "cores": (clock[after.shard] - clock[before.shard]) / seconds,
                "steps": {
                    name: value - before.engine[name]
                    for name, value in after.engine.items()
                    if isinstance(value, int | float) and name != "max_num_seqs" and name in before.engine
                },
            }
        )
    return windows, found is not None


if __name__ == "__main__":
    answer(measure)
