"""`fakescan scan` as a process of its own, as a user starts it, and what it leaves behind."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from fakescan.run.folder import RunFolder

SCRIPT = str(Path(sys.executable).with_name("fakescan"))


class ScanProcess:
    """A running command. `out` and `err` hold what it has printed so far."""

    def __init__(
        self, *arguments: object, environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> None:
        self.lines: dict[str, list[str]] = {"out": [], "err": []}
        self._process = subprocess.Popen(
            [SCRIPT, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            # A group of its own, as a terminal gives it: Ctrl-C reaches everything that the command has started.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._below: list[psutil.Process] = []
        streams = {"out": self._process.stdout, "err": self._process.stderr}
        self._readers = [
            threading.Thread(target=lambda name=name, stream=stream: self.lines[name].extend(stream), daemon=True)
            for name, stream in streams.items()
        ]
        for reader in self._readers:
            reader.start()

    @property
    def out(self) -> str:
        return "".join(self.lines["out"])

    @property
    def err(self) -> str:
        return "".join(self.lines["err"])

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self, timeout_s: float = 240.0) -> int:
        """Wait for the exit status."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s\n{self.out}\n{self.err}") from None
        for reader in self._readers:
            reader.join(10)
        return status

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self._process.send_signal(sign)

    def press_ctrl_c(self) -> None:
        """Send SIGINT to everything in the command's group, as a terminal does."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """`kill -9` of the command alone."""
        self._below = psutil.Process(self.pid).children(recursive=True)
        self._workers = [process for process in self._below if _is_worker(process)]
        self._process.kill()
        self._process.wait()

    def wait_until_no_worker_is_left(self, timeout_s: float = 60.0) -> None:
        """Wait until the Ray workers of the killed command are gone as well; Ray's own agents may stay longer."""
        _, alive = psutil.wait_procs(self._workers, timeout_s)
        assert not alive, f"still alive after {timeout_s} s: {[process.pid for process in alive]}"

    def clean_up(self) -> None:
        """End whatever is left of the command."""
        if not self.has_ended:
            self.kill()
        for process in self._below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def wait_for(self, what: str, happened: Any, timeout_s: float = 120.0) -> None:
        """Wait until `happened()` is true; fail if the command ends first."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            assert not self.has_ended, f"the command ended before {what}:\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"no {what} in {timeout_s} s:\n{self.out}\n{self.err}"
            time.sleep(0.01)

    def wait_for_parts(self, folder: RunFolder, count: int) -> None:
        """Wait until the run has this many parts."""
        self.wait_for(f"{count} parts", lambda: len(folder.part_names()) >= count)

    def kill_worker(self, title: str) -> int:
        """`kill -9` of a Ray worker below this command whose title says what it is doing; its process id."""
        killed: list[int] = []

        def found() -> bool:
            for process in psutil.Process(self.pid).children(recursive=True):
                try:
                    if title in " ".join(process.cmdline()):
                        process.kill()
                        killed.append(process.pid)
                        return True
                except psutil.NoSuchProcess:
                    continue
            return False

        self.wait_for(f"worker {title}", found)
        return killed[0]


def _is_worker(process: psutil.Process) -> bool:
    """Whether a process runs stages of a scan."""
    try:
        title = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return title.startswith("ray::") and "Agent" not in title


@contextmanager
def running(
    *arguments: object, environment: dict[str, str] | None = None, folder: Path | None = None
) -> Iterator[ScanProcess]:
    """Start a command, in a folder, and make sure that nothing of it is left in the end."""
    process = ScanProcess(*arguments, environment=environment, folder=folder)
    try:
        yield process
    finally:
        process.clean_up()


def fakescan(
    *arguments: object, environment: dict[str, str] | None = None, folder: Path | None = None, status: int = 0
) -> ScanProcess:
    """Run a command to its end and check its exit status."""
    with running(*arguments, environment=environment, folder=folder) as process:
        ended = process.end()
    assert ended == status, f"exit status {ended}\n{process.out}\n{process.err}"
    assert "Traceback" not in process.err, process.err
    return process


def read_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """All rows of a run as its parts hold them, in the order of row ids; each must be there once."""

    def read(name: str) -> pa.Table:
        return pq.read_table(io.BytesIO(folder.fs.cat_file(f"{folder.parts}/{name}")))

    with ThreadPoolExecutor(8) as pool:
        rows: list[dict[str, Any]] = pa.concat_tables(pool.map(read, folder.part_names())).to_pylist()
    ids = [row["row_id"] for row in rows]
    assert ids == list(range(len(rows))), f"rows are missing, doubled or out of order in {folder.part_names()}: {ids}"
    return rows
