"""A Ray of this machine in a process of its own, and the memory of its workers: what a command on a cluster takes."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from benchmarks.process_tree import members, process_bytes
from benchmarks.report import ROOT

_START = """
import sys
import ray
context = ray.init(num_cpus={cpus}, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class RayNode:
    """A cluster of one node."""

    address: str
    pid: int
    """Of the process that has started it."""


@contextmanager
def ray_node(cpus: int) -> Iterator[RayNode]:
    """Start one, and end it."""
    command = [sys.executable, "-c", _START.format(cpus=cpus)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield RayNode(process.stdout.readline().strip(), process.pid)
        finally:
            process.stdin.close()


@dataclass
class WorkerMemory:
    """Peaks, in bytes of proportional set sizes."""

    largest: int = 0
    """Of one worker."""
    together: int = 0
    """Of all workers at one moment."""
    workers: int = 0
    """Workers at one moment, at most."""


@contextmanager
def watched_workers(node: RayNode, every_s: float = 0.2) -> Iterator[WorkerMemory]:
    """Watch the workers that have something to do, or had."""
    seen, done = WorkerMemory(), threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            sizes = [process_bytes(process.pid) for process in members(node.pid) if _is_worker(process)]
            seen.largest = max([seen.largest, *sizes])
            seen.together, seen.workers = max(seen.together, sum(sizes)), max(seen.workers, len(sizes))

    thread = threading.Thread(target=watch, name="watch-workers", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline()).startswith("ray::")
    return False
