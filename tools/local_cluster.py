"""A cluster of three nodes on this machine, in the background: `make cluster`, `cluster-scan`, `cluster-stop`.

    .venv/bin/python tools/local_cluster.py start    # a head and two nodes, with Ray's dashboard
    .venv/bin/python tools/local_cluster.py scan     # the demo on it, as a job of Ray
    .venv/bin/python tools/local_cluster.py stop

What runs is cluster/local.py; `.cluster/` says where, and holds its log.
"""

import argparse
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cluster.local import FOLDER_PREFIX, RunningCluster

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PROGRAM = ROOT / "cluster" / "local.py"
NODES = ("--nodes", "2", "--cpus", "2", "--head-cpus", "2", "--dashboard")
_START_S = 180.0
_STOP_S = 60.0
_POLL_S = 0.2


class Background:
    """The cluster of one folder, by default the project's `.cluster`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "cluster.json"
        self.log = folder / "cluster.log"

    def running(self) -> RunningCluster | None:
        """The cluster that runs; None where there is none, whatever files an earlier one has left."""
        try:
            found = RunningCluster.read(self.state)
        except (OSError, ValueError):
            return None
        return found if _keeps_cluster(found.pid) else None

    def start(self) -> None:
        """Start it, unless it runs, and say what comes next."""
        if cluster := self.running():
            print("A cluster is running already.")
            return _describe(cluster)
        self._forget()
        print(f"Starting three nodes (log: {_short(self.log)})", flush=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", str(PROGRAM), *NODES, "--state", str(self.state)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        try:
            while not (cluster := self.running()):
                if process.poll() is not None or time.monotonic() > deadline:
                    _end(psutil.Process(process.pid) if process.poll() is None else None)
                    last = "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-15:])
                    sys.exit(f"{last}\ncluster: error: it did not start; its whole log is {_short(self.log)}")
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            _end(psutil.Process(process.pid))
            self._forget()
            sys.exit(130)
        if not cluster.dashboard:
            print(next(line for line in self.log.read_text().splitlines() if line.startswith("no dashboard")))
        _describe(cluster)

    def stop(self) -> None:
        """End it, and nothing else that Ray has started on this machine."""
        cluster = self.running()
        if cluster:
            _end(psutil.Process(cluster.pid))
        self._forget()
        print("The cluster has ended." if cluster else "No cluster is running.")

    def scan(self) -> None:
        """Scan the sample pairs on it, follow the job's log and show the verdicts."""
        cluster = self.running()
        if cluster is None:
            sys.exit("cluster-scan: error: no cluster is running; start one: make cluster")
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        output = ROOT / "demo-output" / f"cluster-{name}"
        source = ROOT / "samples" / "pairs"
        command, undo = self._command(cluster, f"demo-{name}", [str(source), "--output", str(output)])
        environment = {**os.environ, **cluster.environment}
        print(f"$ {shlex.join(command)}", flush=True)
        try:
            status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        except KeyboardInterrupt:
            if undo:
                subprocess.run(undo, cwd=ROOT, env=environment, check=False)
            sys.exit(130)
        if status:
            sys.exit(f"cluster-scan: error: the scan has failed (status {status}); its last lines are above")
        subprocess.run([sys.executable, ROOT / "tools" / "show_results.py", output], check=True)
        print(f"\nThe results are in {_short(output)}; end the cluster with: make cluster-stop")

    def _command(self, cluster: RunningCluster, job: str, words: list[str]) -> tuple[list[str], list[str]]:
        """The scan as a job, and what ends that job again; without an API for jobs the scan as a driver."""
        if not cluster.dashboard:
            return [str(BIN / "fakescan"), "scan", *words, "--ray-address", cluster.address], []
        ray = [str(BIN / "ray"), "job"]
        runtime = json.dumps({"env_vars": {"PYTHONPATH": "platform"}})
        submit = ["submit", "--address", cluster.dashboard, "--submission-id", job, "--working-dir", "."]
        run = ["--runtime-env-json", runtime, "--", "python", "jobs/scan.py"]
        return [*ray, *submit, *run, *words], [*ray, "stop", "--address", cluster.dashboard, job]

    def _forget(self) -> None:
        """Remove what a cluster that ended by itself or was killed has left."""
        try:
            left = Path(RunningCluster.read(self.state).folder)
        except (OSError, ValueError):
            left = None
        if left is not None and left.name.startswith(FOLDER_PREFIX):
            shutil.rmtree(left, ignore_errors=True)
        self.state.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps a second start or stop out."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _keeps_cluster(pid: int) -> bool:
    """Whether this process is `cluster/local.py`, and not another one that got the number of one that has ended."""
    try:
        process = psutil.Process(pid)
        return str(PROGRAM) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(process: psutil.Process | None) -> None:
    """SIGTERM, on which the cluster ends in order; SIGKILL, which all its processes share, where it does not."""
    if process is None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)


def _describe(cluster: RunningCluster) -> None:
    """Where the cluster is, and what to do next."""
    variables = shlex.join(f"{name}={value}" for name, value in cluster.environment.items())
    print()
    if cluster.dashboard:
        print(f"  dashboard       {cluster.dashboard}  (asks for the token that `ray get-auth-token` prints)")
        print(f"  metrics         {cluster.metrics}  (for file_sd_configs of Prometheus)")
    print(f"  a scan of yours {variables} fakescan scan SOURCE -o OUTPUT --ray-address {cluster.address}")
    print("\nNext: make cluster-scan     At the end: make cluster-stop")


def _short(path: Path) -> str:
    """Relative to the project, where it is in there."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main() -> None:
    """Do what the word says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("start", "scan", "stop"))
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".cluster", help="what is known of it (default: .cluster)"
    )
    settings = parser.parse_args()
    background = Background(settings.folder.resolve())
    if settings.action == "scan":
        return background.scan()
    with background.alone():
        background.start() if settings.action == "start" else background.stop()


if __name__ == "__main__":
    main()
