"""Where a scan's CPU time goes: each process and thread of it in the steady state, in CPU-ms per image; and its memory.

    python benchmarks/scan_profile.py                              # score-only, real vLLM: about two minutes
    python benchmarks/scan_profile.py --engine fake --images 2048
    python benchmarks/scan_profile.py --explain all

A scan as in `scan.py`, in a process of its own, whose tree is looked at twice a second through /proc (`schedstat`, in
nanoseconds). The steady state is here what lies between the first quarter of the parts and the last part; what the feed
had laid up before it is not taken off, so that a feed's share is a little low in short runs. The S3 server has a line
of its own and is no part of the sum. Memory is the proportional set size of each process when that of all was largest.
"""

import argparse
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.arms import Arms
from benchmarks.images import image_set
from benchmarks.process_tree import members, process_bytes
from benchmarks.report import ROOT, Report
from benchmarks.scan import BUCKET, HOLD, upload
from fakescan.run.parts import DEFAULT_SHARD_ROWS
from fakevlm.builtin import BUILT_IN
from tests.storage_server import SeaweedServer

LOOK_S = 0.5
WEIGH_S = 3.0
SERVER = "S3 server"
IDLE = "other workers"
"""Of Ray's: those that have had no task yet, and those between two."""
SMALL_MS = 0.02
"""CPU-ms per image below which a thread is not named."""

_ROLES = (
    (r"^weed|/weed ", SERVER),
    (r"gcs_server", "GCS"),
    (r"raylet/raylet", "raylet and object store"),
    (r"log_monitor\.py", "log monitor"),
    (r"monitor\.py", "autoscaler monitor"),
    (r"dashboard/agent\.py", "dashboard agent"),
    (r"runtime_env/agent", "runtime environment agent"),
    (r"dashboard\.py", "dashboard"),
    (r"benchmarks\.scan_process", "driver"),
    (r"^ray::.*Judge", "engine actor"),
    (r"^ray::.*Feed", "feed worker"),
    (r"^ray::Ledger", "ledger actor"),
    (r"^ray::(_StatsActor|_AutoscalingCoordinator)", "Ray Data's own actors"),
    (r"^ray::DashboardAgent", "dashboard agent"),
    (r"^ray::RuntimeEnvAgent", "runtime environment agent"),
    (r"^ray::", IDLE),
)


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread of one process. Workers rename theirs with every task."""

    pid: int
    tid: int
    name: str = field(compare=False)


@dataclass
class Watch:
    """What was seen of the tree."""

    looks: list[tuple[float, dict[Thread, float]]] = field(default_factory=list)
    """Unix time, and CPU seconds so far of each thread."""
    memory: dict[int, int] = field(default_factory=dict)
    """Bytes of each process when their sum was largest."""
    roles: dict[int, str] = field(default_factory=dict)
    """What each process is; for a worker of Ray's, what it was at last beside idle."""

    def seconds(self, first: float, last: float) -> dict[Thread, float]:
        """CPU seconds of each thread between two times."""
        before, after = self._at(first), self._at(last)
        return {thread: cpu - before.get(thread, 0.0) for thread, cpu in after.items()}

    def _at(self, moment: float) -> dict[Thread, float]:
        """CPU seconds so far, evenly between two looks: on busy cores some seconds may lie between them."""
        later = next((number for number, look in enumerate(self.looks) if look[0] >= moment), len(self.looks) - 1)
        (start, before), (stop, after) = self.looks[max(0, later - 1)], self.looks[later]
        share = min(1.0, max(0.0, (moment - start) / (stop - start))) if stop > start else 1.0
        begun = {thread: share * cpu for thread, cpu in after.items() if thread not in before}
        return begun | {thread: cpu + share * (after.get(thread, cpu) - cpu) for thread, cpu in before.items()}


def main() -> None:
    """Parse, scan, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("vllm", "fake"), default="vllm")
    parser.add_argument("--explain", choices=("none", "all", "fakes"), default="none")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--shard-rows", type=int, help="default: a scan's own choice")
    parser.add_argument("--threads", type=int, default=6, help="threads to name of each process")
    settings = parser.parse_args()
    report = Report("scan_profile", {name: str(value) for name, value in vars(settings).items()})
    images = image_set(ROOT / ".cache" / "benchmarks", settings.images)
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder, SeaweedServer(Path(folder)) as server:
        upload(server, "images", images, settings.images)
        credentials = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        arms = Arms(server.endpoint_url, credentials, str(BUILT_IN), Path(folder), BUCKET)
        with watching() as watch:
            run = arms.scan(
                "images",
                hold=HOLD if settings.engine == "vllm" else None,
                explain=settings.explain,
                engine={"kind": settings.engine},
                shard_rows=settings.shard_rows,
            )
    parts = sorted(run.parts, key=lambda part: part.written_at)
    quarter, last = parts[len(parts) // 4], parts[-1]
    rows = sum(part.counts.rows for part in parts[len(parts) // 4 + 1 :])
    spent = watch.seconds(quarter.written_at, last.written_at)
    seconds = last.written_at - quarter.written_at
    tell(report, {thread: 1e3 * cpu / rows for thread, cpu in spent.items()}, watch, settings.threads)
    report.add(
        "whole",
        img_s=rows / seconds,
        cores=sum(spent.values()) / seconds,
        between_looks_s=max(later[0] - sooner[0] for sooner, later in pairwise(watch.looks)),
        first_part_s=run.startup_s,
        rows_of_a_shard=max((part.counts.rows for part in parts), default=DEFAULT_SHARD_ROWS),
        fetch_cpu_ms=run.stage_ms("fetch"),
        decode_cpu_ms=run.stage_ms("decode"),
        write_cpu_ms=run.stage_ms("write"),
        peak_mb=run.process.peak_bytes / 1e6,
        others_cores=run.process.others_cores,
    )
    sys.exit(report.finish())


def tell(report: Report, spent: Mapping[Thread, float], watch: Watch, named: int) -> None:
    """Print each role's CPU-ms per image, share and memory, and of its threads the dearest."""
    roles: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    memory: dict[str, list[int]] = defaultdict(list)
    for thread, cpu in spent.items():
        roles[watch.roles[thread.pid]][thread.name] += cpu
    for pid, size in watch.memory.items():
        memory[watch.roles[pid]].append(size)
    total = sum(sum(threads.values()) for role, threads in roles.items() if role != SERVER)
    print(f"\n{'process':<28}{'number':>8}{'CPU-ms/image':>14}{'share':>8}{'MB':>8}")
    for role in sorted({*roles, *memory}, key=lambda role: -sum(roles[role].values())):
        cpu, megabytes = sum(roles[role].values()), sum(memory[role]) / 1e6
        share = f"{100 * cpu / total:.1f} %" if role != SERVER else ""
        print(f"{role:<28}{len(memory[role]):>8}{cpu:>14.3f}{share:>8}{megabytes:>8.0f}")
        for name, own in sorted(roles[role].items(), key=lambda item: -item[1])[:named]:
            if own >= SMALL_MS:
                print(f"    {name:<32}{own:>14.3f}")
        report.measurements[role] = [{"cpu_ms": cpu, "mb": megabytes, "threads": dict(roles[role])}]
    ours = sum(size for role, sizes in memory.items() if role != SERVER for size in sizes)
    print(f"{'all of the scan':<36}{total:>14.3f}{'':>8}{ours / 1e6:>8.0f}\n")


@contextmanager
def watching() -> Iterator[Watch]:
    """Look at everything that this process has started, meanwhile."""
    watch, done = Watch(), threading.Event()

    def look() -> None:
        weighed, most = 0.0, 0
        own = psutil.Process().pid
        while not done.wait(LOOK_S):
            for process in members(own):
                role = role_of(process) if process.pid != own else ""
                if role and (role != IDLE or process.pid not in watch.roles):
                    watch.roles[process.pid] = role
            began = time.time()
            spent = {thread: cpu for pid in watch.roles for thread, cpu in threads_of(pid)}
            watch.looks.append(((began + time.time()) / 2, spent))
            if time.monotonic() - weighed >= WEIGH_S:
                weighed = time.monotonic()
                found: dict[int, int] = {}
                for pid in watch.roles:
                    with suppress(OSError):
                        found[pid] = process_bytes(pid)
                if (size := sum(found.values())) > most:
                    watch.memory, most = found, size

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()


def role_of(process: psutil.Process) -> str:
    """What a process is in a scan; empty for a shell."""
    with suppress(psutil.Error):
        line = " ".join(process.cmdline())
        for pattern, role in _ROLES:
            if re.search(pattern, line):
                return role
        return "" if line.startswith("sh ") else line[:60]
    return ""


def threads_of(pid: int) -> Iterator[tuple[Thread, float]]:
    """The threads of a process with their CPU seconds so far."""
    alive = 0.0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                cpu = int((task / "schedstat").read_text().split()[0]) / 1e9
                name = (task / "comm").read_text().strip()
                alive += cpu
                yield Thread(pid, int(task.name), re.sub(r"\d+$", "", name)), cpu
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        yield Thread(pid, 0, "threads that have ended"), max(0.0, times.user + times.system - alive)


if __name__ == "__main__":
    main()
