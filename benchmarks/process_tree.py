"""CPU time and memory of a process and everything it started, read from /proc."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


def members(pid: int) -> list[psutil.Process]:
    """The process and its descendants; empty once it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class CpuClock:
    """CPU seconds used so far by a process and its descendants, those that ended since an earlier reading included.

    Ray's raylet does not wait for its workers, so an ended worker's time is in nobody's sum but this one.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[tuple[int, float], float] = {}

    def seconds(self) -> float:
        """Read the clock; call it often enough to meet every process."""
        for process in members(self._pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
        return sum(self._seen.values())

    @property
    def processes(self) -> int:
        """Processes met so far."""
        return len(self._seen)


def memory_bytes(pid: int) -> int:
    """Memory of the tree: the sum of the proportional set sizes, in which shared pages count once."""
    total = 0
    for process in members(pid):
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            total += _pss(process.pid)
    return total


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return int(psutil.Process(pid).memory_info().rss)


@dataclass
class Seen:
    """What a watch has found."""

    peak_bytes: int = 0
    """Most memory of the tree."""
    others_cores: float = 0.0
    """Cores that were busy for processes which this one has not started."""


@contextmanager
def watched(pid: int, every_s: float = 3.0) -> Iterator[Seen]:
    """Watch a tree that this process has started, from outside it, so that the watching is not counted."""
    seen = Seen()
    done = threading.Event()
    own = CpuClock(os.getpid())
    began, busy, mine = time.monotonic(), machine_seconds(), own.seconds()

    def watch() -> None:
        while not done.wait(every_s):
            seen.peak_bytes = max(seen.peak_bytes, memory_bytes(pid))
            others = (machine_seconds() - busy) - (own.seconds() - mine)
            seen.others_cores = max(0.0, others) / (time.monotonic() - began)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def machine_seconds() -> float:
    """CPU seconds that the whole machine has been busy."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
