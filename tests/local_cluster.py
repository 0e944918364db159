"""`cluster/local.py` as a process of its own: a cluster of several nodes, and what is there of it."""

import contextlib
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAM = Path(__file__).parents[1] / "cluster" / "local.py"


class LocalCluster:
    """A running cluster. `lines` are what the program has printed so far."""

    def __init__(self, *arguments: object) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(PROGRAM), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._is_ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def address(self) -> str:
        """For `--ray-address`."""
        return self._printed(r"ready: --ray-address (\S+)")

    @property
    def environment(self) -> dict[str, str]:
        """Variables that a driver needs."""
        words = shlex.split(self._printed(r"export (.+)"))
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    @property
    def dashboard(self) -> str:
        """URL of the dashboard and of the API for jobs, of a cluster with `--dashboard`."""
        return self._printed(r"dashboard: (\S+)")

    @property
    def metrics(self) -> Path:
        """File that lists every node's metrics for Prometheus, of a cluster with `--dashboard`."""
        return Path(self._printed(r"metrics: (\S+)"))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def processes(self) -> list[psutil.Process]:
        """Everything below the program."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def raylets(self) -> list[psutil.Process]:
        """One for each node, the head's included."""
        return [process for process in self.processes() if _name(process) == "raylet"]

    def end(self) -> None:
        """Ctrl-C, and the certainty that nothing is left."""
        below = self.processes() if self._process.poll() is None else []
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        _, alive = psutil.wait_procs(below, 10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert not alive, f"left over: {alive}"

    def _printed(self, pattern: str) -> str:
        """What the program has printed in this place of a line; waits until the cluster is there."""
        assert self._is_ready.wait(60), f"no cluster:\n{self.text}"
        found = re.search(f"^{pattern}", self.text, re.MULTILINE)
        assert found is not None, self.text
        return found[1]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if line.startswith("ready: "):
                self._is_ready.set()
        self._is_ready.set()


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@contextmanager
def local_cluster(*arguments: object) -> Iterator[LocalCluster]:
    """A cluster that is gone at the end, whatever has happened."""
    cluster = LocalCluster(*arguments)
    try:
        assert cluster.address
        yield cluster
    finally:
        cluster.end()
