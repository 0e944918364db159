"""cluster/slurm/fakescan.sbatch with the real `ray symmetric-run`, on one node and on two, without SLURM.

`ray symmetric-run` ends with `ray stop`. Where there are no process namespaces that would end every Ray of this
machine, so nothing of this runs there.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.local_cluster import local_cluster
from tests.scan_process import fakescan, read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "cluster" / "slurm" / "fakescan.sbatch"
STAND_INS = Path(__file__).with_name("slurm_nodes.py")
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--kill-child", "--fork"]
ALONE = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child", "--mount-proc", "true"]
can_run = subprocess.run([*NAMESPACES, *ALONE], capture_output=True).returncode == 0
needs_namespaces = pytest.mark.skipif(not can_run, reason="users have no namespaces here")


class Job:
    """An attempt of a job: what `sbatch` starts on the first node."""

    def __init__(self, folder: Path, nodes: int, *words: object, missing: int = 0) -> None:
        programs, disks = folder / "bin", folder / "d"
        for each in (programs, disks):
            each.mkdir(exist_ok=True)
        for name in ("srun", "scontrol"):
            (programs / name).unlink(missing_ok=True)
            (programs / name).symlink_to(STAND_INS)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "FAKESCAN_NODE_TMP": str(disks),
            "SLURMD_NODENAME": "10.77.0.1",
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_JOB_CPUS_PER_NODE": "2",
            "SLURM_GPUS_ON_NODE": "1",
            "MISSING_NODES": str(missing),
            "RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT": "10" if missing else "120",
        }
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*NAMESPACES, sys.executable, STAND_INS, "bash", SCRIPT, *map(str, words)],
            env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def end(self, timeout_s: float = 240) -> int:
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"still running after {timeout_s} s:\n{self.log}") from None
        self._reader.join(10)
        return status

    def script(self) -> int:
        """The process that SLURM would signal."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            if process.cmdline()[:2] == ["bash", str(SCRIPT)]:
                return process.pid
        raise AssertionError("it is not there")


@pytest.fixture
def many(pictures: Path, tmp_path: Path) -> Path:
    """Two hundred and forty names of thirty images."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(8):
        for picture in pictures.iterdir():
            (folder / f"{number}-{picture.name}").hardlink_to(picture)
    return folder


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for the names of Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


def scan(folder: Path, source: Path, **engine: float) -> list[object]:
    settings = ", ".join(f"{name}: {value}" for name, value in {"kind": "fake", **engine}.items())
    file = folder / "scan.yaml"
    file.write_text(
        f"source: {source}\noutput: {folder / 'run'}\nshard_rows: 4\nengine: {{{settings}}}\ndevice: cuda\n"
    )
    return ["scan", "--config", file]


@needs_namespaces
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_scan_on_all_nodes_of_a_job_beside_another_ray(short: Path, many: Path, nodes: int) -> None:
    with local_cluster() as other:
        job = Job(short, nodes, *scan(short, many, max_num_seqs=4, step_s=0.2))
        assert job.end() == 0, job.log
        assert len(other.raylets()) == 1, "its Ray lives on"
    run = RunFolder(str(short / "run"), Store())
    assert len(read_rows(run)) == 240
    fakescan("verify", run.url)
    assert re.search(rf"{nodes} engines? on {nodes} GPUs?", job.log), job.log
    assert not list((short / "d").glob("*/*")), "something is left on a node"


@needs_namespaces
def test_a_job_that_goes_back_into_the_queue_goes_on(short: Path, many: Path) -> None:
    words = scan(short, many, max_num_seqs=1, step_s=0.3)
    job = Job(short, 2, *words)
    parts = short / "run" / "parts"
    deadline = time.monotonic() + 120
    while len(list(parts.glob("part-*.parquet"))) < 3:
        assert time.monotonic() < deadline, job.log
        assert job.process.poll() is None, job.log
        time.sleep(0.1)
    os.kill(job.script(), signal.SIGUSR1)
    assert job.end() != 0
    assert "the job goes back into the queue" in job.log
    kept = {path.name: path.read_bytes() for path in parts.glob("part-*.parquet")}
    assert 3 <= len(kept) < 60
    again = Job(short, 2, *scan(short, many, max_num_seqs=1, step_s=0.3)[:3])
    assert again.end() == 0, again.log
    assert all((parts / name).read_bytes() == data for name, data in kept.items()), "a part was done again"
    assert len(read_rows(RunFolder(str(short / "run"), Store()))) == 240


@needs_namespaces
def test_a_wrong_setting_is_one_line_and_its_status(short: Path, many: Path) -> None:
    job = Job(short, 1, "scan", many, "--output", short / "run", "--engine", "fake", "--replicas", "many")
    assert job.end() == 2, job.log
    assert "fakescan: error: " in job.log or "Error: " in job.log
    assert "ray-logs-4711.tgz" in job.log
    assert (short / "ray-logs-4711.tgz").is_file()


@needs_namespaces
def test_a_node_that_does_not_come_is_a_failure(short: Path, many: Path) -> None:
    job = Job(short, 2, *scan(short, many), missing=1)
    assert job.end() == 1, job.log
    assert "error: fakescan was not run: Ray did not start on all 2 nodes" in job.log
