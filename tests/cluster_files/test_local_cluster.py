"""The cluster on this machine: its command lines, and what is believed of the files that an earlier one has left."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local import RunningCluster
from tools.local_cluster import PROGRAM, Background

pytestmark = pytest.mark.unit


def tool(action: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`make cluster`, `make cluster-scan` or `make cluster-stop`, with a folder of its own."""
    file = Path(__file__).parents[2] / "tools" / "local_cluster.py"
    return subprocess.run([sys.executable, file, action, "--folder", folder], capture_output=True, text=True)


def local(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["--port", "--dashboard-port"])
def test_a_port_that_is_in_use_is_one_line(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = local(name, str(port))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        f"{name}: {port} is in use; choose another, or leave it out for a free one"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nodes", "2", "--group", "gpu:0-4:2:1"], "exclude each other"),
        (["--group", "gpu:4-0:2:1"], "is not NAME:MIN-MAX:CPUS:GPUS"),
        (["--group", "gpu"], "is not NAME:MIN-MAX:CPUS:GPUS"),
        (["--lose-every", "5"], "--lose-every needs --nodes"),
        (["--state", "/nowhere/at/all.json"], "/nowhere/at is not a folder"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(arguments: list[str], said: str) -> None:
    done = local(*arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_is_written_of_a_cluster_is_read_again(tmp_path: Path) -> None:
    written = RunningCluster(
        1, "127.0.0.1:6379", "/tmp/fakescan-x", {"RAY_AUTH_MODE": "token"}, "http://127.0.0.1:8265"
    )
    written.write(tmp_path / "state")
    assert RunningCluster.read(tmp_path / "state") == written


def state(pid: int, folder: Path) -> str:
    return json.dumps({"pid": pid, "address": "127.0.0.1:6379", "folder": str(folder), "environment": {}})


def test_a_file_of_a_cluster_that_was_killed_is_not_believed_and_its_rest_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "fakescan-left"
    left.mkdir()
    (tmp_path / "cluster.json").write_text(state(os.getpid(), left))  # the number has gone to another process
    assert Background(tmp_path).running() is None
    done = tool("stop", tmp_path)
    assert (done.returncode, done.stdout) == (0, "No cluster is running.\n")
    assert not left.exists()
    assert not (tmp_path / "cluster.json").exists()


def test_a_folder_that_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "cluster.json").write_text(state(1, precious))
    assert tool("stop", tmp_path).returncode == 0
    assert precious.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"other": "file"}'])
def test_a_file_that_is_damaged_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    done = tool("stop", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "No cluster is running.\n", "")


def test_a_scan_without_a_cluster_says_what_to_do(tmp_path: Path) -> None:
    done = tool("scan", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "cluster-scan: error: no cluster is running; start one: make cluster\n"
