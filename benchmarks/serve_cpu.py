"""CPU time of a server by the part that its processes play."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.process_tree import CpuClock, machine_seconds, members

REPLICA = "ServeReplica:fakevlm:Detector"
PARTS = {
    REPLICA: "replica",
    "ray::ProxyActor": "proxy",
    "ServeController": "controller",
    "ServeReplica:fakevlm:Control": "control",
    "raylet/raylet": "raylet",
    "gcs_server": "gcs",
}
"""What a process' command line holds, and its part."""
DRIVER, REST = "driver", "rest"
THREADS = {"vllm-step": "engine", "decode": "decode"}
"""Names of a replica's threads, or what they begin with, that are parts of their own."""
DECODES_LARGE = "fakescan.isolation"
"""What the command line of a replica's processes for large images holds."""


@dataclass(frozen=True)
class Reading:
    """CPU seconds so far."""

    at: float
    parts: dict[str, float]
    others: float
    """CPU seconds of processes that are no part of the benchmark."""


@dataclass(frozen=True)
class Used:
    """Cores that were busy between two readings."""

    seconds: float
    parts: dict[str, float]
    others_cores: float

    @property
    def cores(self) -> float:
        """Cores that the whole server kept busy."""
        return sum(self.parts.values())

    def per_request_ms(self, requests_s: float) -> dict[str, float]:
        """CPU milliseconds per request, by part."""
        return {f"{part}_ms": 1e3 * cores / requests_s for part, cores in self.parts.items()} if requests_s else {}


@dataclass
class ServerClock:
    """Reads the CPU time of a server that this process has started."""

    pid: int
    _seen: dict[tuple[int, float], dict[str, float]] = field(default_factory=dict)
    _own: CpuClock = field(default_factory=lambda: CpuClock(os.getpid()))

    def read(self) -> Reading:
        """The reading now. Of a process that has ended, only what an earlier reading saw is counted."""
        for process in members(self.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times, title = process.cpu_times(), " ".join(process.cmdline())
                part = DRIVER if process.pid == self.pid else _part(title)
                split = dict(_thread_times(process)) if part == PARTS[REPLICA] else {}
                split[part] = times.user + times.system - sum(split.values())
                self._seen[process.pid, process.create_time()] = split
        parts = dict.fromkeys([DRIVER, *PARTS.values(), *THREADS.values(), REST], 0.0)
        for split in self._seen.values():
            for part, seconds in split.items():
                parts[part] += seconds
        return Reading(time.monotonic(), parts, machine_seconds() - self._own.seconds())

    def since(self, before: Reading) -> Used:
        """Used since a reading."""
        now = self.read()
        seconds = now.at - before.at
        parts = {part: (value - before.parts[part]) / seconds for part, value in now.parts.items()}
        return Used(seconds, parts, max(0.0, now.others - before.others) / seconds)


def _thread_times(process: psutil.Process) -> Iterator[tuple[str, float]]:
    """CPU seconds of the threads of a replica that are parts of their own, by part."""
    found = dict.fromkeys(THREADS.values(), 0.0)
    for thread in process.threads():
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text()
            for beginning, part in THREADS.items():
                if name.startswith(beginning):
                    found[part] += thread.user_time + thread.system_time
    yield from found.items()


def _part(title: str) -> str:
    if DECODES_LARGE in title:
        return THREADS["decode"]
    return next((part for words, part in PARTS.items() if words in title), REST)
