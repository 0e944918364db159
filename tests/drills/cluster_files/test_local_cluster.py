"""`make cluster`, `make cluster-scan`, `make cluster-stop`, as a user runs them, and the commands of docs/jobs.md."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.local import RunningCluster
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.local_cluster import local_cluster
from tests.scan_process import fakescan, read_rows
from tests.serve_process import open_to_others

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "local_cluster.py"


def tool(action: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOOL, action, "--folder", folder], capture_output=True, text=True, timeout=300,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the tool notes its cluster, which has ended afterwards."""
    yield tmp_path / "noted"
    tool("stop", tmp_path / "noted")


def processes(cluster: RunningCluster) -> list[psutil.Process]:
    keeper = psutil.Process(cluster.pid)
    return [keeper, *keeper.children(recursive=True)]


def test_a_user_starts_it_twice_scans_and_stops_it(folder: Path, tmp_path: Path) -> None:
    newest = Path("/tmp/ray/ray_current_cluster")
    before = newest.read_text() if newest.exists() else None
    started = tool("start", folder)
    assert started.returncode == 0, started.stderr
    assert "Next: make cluster-scan     At the end: make cluster-stop" in started.stdout
    cluster = RunningCluster.read(folder / "cluster.json")
    names = [process.name() for process in processes(cluster)]
    assert names.count("raylet") == 3
    assert open_to_others(cluster.pid) == set()
    assert (newest.read_text() if newest.exists() else None) == before, "other programs would join this one"

    again = tool("start", folder)
    assert again.returncode == 0
    assert again.stdout.startswith("A cluster is running already.")
    assert RunningCluster.read(folder / "cluster.json") == cluster

    for _ in range(2):
        scanned = tool("scan", folder)
        assert scanned.returncode == 0, scanned.stdout + scanned.stderr
        assert re.search(r"^\$ .*ray job submit --address http://127.0.0.1:\d+ ", scanned.stdout, re.MULTILINE)
        output = re.search(r"The results are in (\S+);", scanned.stdout)
        assert output
        assert len(read_rows(RunFolder(str(ROOT / output[1]), Store()))) == len(
            list((ROOT / "samples" / "pairs").iterdir())
        )

    all_of_it = processes(cluster)
    stopped = tool("stop", folder)
    assert (stopped.returncode, stopped.stdout) == (0, "The cluster has ended.\n")
    assert not psutil.wait_procs(all_of_it, 10)[1]
    assert not Path(cluster.folder).exists()
    assert tool("stop", folder).stdout == "No cluster is running.\n"


def test_every_nodes_metrics_can_be_scraped(folder: Path) -> None:
    assert tool("start", folder).returncode == 0
    cluster = RunningCluster.read(folder / "cluster.json")
    assert cluster.metrics
    (group,) = json.loads(Path(cluster.metrics).read_text())
    deadline = time.monotonic() + 60
    while (kinds := sorted(kind for target in group["targets"] for kind in kinds_of_node(target))) != WHOLE:
        assert time.monotonic() < deadline, (group, kinds)
        time.sleep(0.5)


WHOLE = ["head", "worker", "worker"]


def kinds_of_node(target: str) -> set[str]:
    """Which kinds of node a scrape of one target is about; nothing yet, or nothing ever for that of the dashboard."""
    try:
        with urllib.request.urlopen(f"http://{target}/metrics") as answer:
            return set(re.findall(r'ray_node_cpu_count\{.*?RayNodeType="(\w+)"', answer.read().decode()))
    except OSError:  # it is not listening yet
        return set()


def test_after_a_kill_nothing_is_left_and_it_starts_again(folder: Path) -> None:
    assert tool("start", folder).returncode == 0
    first = RunningCluster.read(folder / "cluster.json")
    all_of_it = processes(first)
    os.kill(first.pid, signal.SIGKILL)
    assert not psutil.wait_procs(all_of_it[1:], 90)[1], "they share the fate of the one that keeps them"
    assert "no cluster is running" in tool("scan", folder).stderr
    assert tool("start", folder).returncode == 0
    second = RunningCluster.read(folder / "cluster.json")
    assert second.pid != first.pid
    assert not Path(first.folder).exists()


def test_it_runs_beside_another_cluster_and_takes_another_port(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # else another Ray has it
            stack.enter_context(socket.create_server(("127.0.0.1", 8265)))
        other = stack.enter_context(local_cluster("--dashboard"))
        assert tool("start", folder).returncode == 0
        cluster = RunningCluster.read(folder / "cluster.json")
        assert cluster.dashboard not in ("http://127.0.0.1:8265", other.dashboard)
        assert tool("stop", folder).returncode == 0
        assert [process.name() for process in other.processes()].count("raylet") == 1, "it lives on"


def test_without_the_packages_of_the_dashboard_it_scans_all_the_same(folder: Path, tmp_path: Path) -> None:
    """As with `pip install ray`: the import of one of them fails."""
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "aiohttp_cors.py").write_text("raise ModuleNotFoundError('No module named aiohttp_cors')")
    environment = {"PYTHONPATH": os.pathsep.join([str(missing), os.environ.get("PYTHONPATH", "")])}
    started = tool("start", folder, **environment)
    assert started.returncode == 0, started.stdout + started.stderr
    assert "no dashboard: " in started.stdout
    assert "pip install 'ray[default]'" in started.stdout
    scanned = tool("scan", folder)
    assert scanned.returncode == 0, scanned.stdout + scanned.stderr
    assert "The results are in" in scanned.stdout


def test_a_scan_that_is_interrupted_ends_its_job(folder: Path) -> None:
    assert tool("start", folder).returncode == 0
    process = subprocess.Popen(
        [sys.executable, TOOL, "scan", "--folder", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "submitted successfully" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    said = process.stdout.read()
    assert process.wait(60) == 130, said
    cluster = RunningCluster.read(folder / "cluster.json")
    deadline = time.monotonic() + 60
    while any("jobs/scan.py" in " ".join(_words(each)) for each in processes(cluster)):
        assert time.monotonic() < deadline, "the job goes on"
        time.sleep(0.2)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def commands_of(page: str, heading: str) -> list[str]:
    """The commands in the blocks of one section, a continued line as one."""
    text = (ROOT / "docs" / page).read_text()
    section = re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_commands_of_the_docs_work_as_they_are_written(tmp_path: Path) -> None:
    start, export, scan = commands_of("jobs.md", "A cluster of several nodes on one machine")
    with local_cluster(*start.removeprefix("python cluster/local.py ").split()) as cluster:
        assert export in cluster.text.splitlines(), "what it prints, and what the page says"
        scan = scan.replace("/tmp/grown", str(tmp_path / "grown")).replace("ADDRESS", cluster.address)
        done = subprocess.run(
            ["bash", "-ec", f"{export}\n{scan}"], cwd=ROOT, capture_output=True, text=True, timeout=300,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fakescan("verify", str(tmp_path / "grown"))
