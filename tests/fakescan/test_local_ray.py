"""A Ray of one's own: who reaches it, who reads its token, and another Ray's port in the way."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import contextlib, json, os, socket, time
from tests.serve_process import open_to_others
from fakescan.cluster import connect, disconnect
with contextlib.suppress(OSError):  # else another Ray has it
    in_the_way = socket.create_server(("127.0.0.1", 52365))
connect(data=False, dashboard=True)
import ray
from ray.job_submission import JobSubmissionClient
client = JobSubmissionClient("http://" + ray._private.worker._global_node.webui_url)
job = client.submit_job(entrypoint="true")
deadline = time.monotonic() + 60
while not (status := client.get_job_status(job)).is_terminal() and time.monotonic() < deadline:
    time.sleep(0.2)
print(json.dumps({"job": status.value, "open": sorted(open_to_others(os.getpid()))}))
disconnect()
"""


@pytest.mark.cluster
def test_it_is_private_and_starts_jobs_beside_another_ray(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"job": "SUCCEEDED", "open": []}
    token = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]


PROTECT = "from fakescan.local_ray import protect_token; protect_token()"


def protect(home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", PROTECT], env={**environment, "HOME": str(home), **more}, capture_output=True, text=True
    )


@pytest.mark.unit
def test_a_token_that_others_could_read_is_closed_and_kept(tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0" * 64)
    token.chmod(0o644)
    assert protect(tmp_path).returncode == 0
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "0" * 64


@pytest.mark.unit
def test_no_token_is_written_where_another_is_named_or_none_is_wanted(tmp_path: Path) -> None:
    for more in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64}):
        assert protect(tmp_path, **more).returncode == 0
        assert not (tmp_path / ".ray" / "auth_token").exists()


@pytest.mark.cluster
def test_a_home_that_cannot_be_written_to_does_without_a_file(tmp_path: Path) -> None:
    """A file in its place, since no permission keeps root out."""
    (tmp_path / "file").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**environment, "HOME": str(tmp_path / "file")}, capture_output=True,
        text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"job": "SUCCEEDED", "open": []}


LEAN = """
import psutil
from fakescan.cluster import connect, disconnect
connect(data=False, verbose={verbose})
lines = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
print([any(name in line for line in lines) for name in ("/log_monitor.py", "/monitor.py", "raylet/raylet")])
disconnect()
"""


@pytest.mark.cluster
@pytest.mark.parametrize("verbose", [False, True])
def test_it_starts_no_process_that_has_nothing_to_do(tmp_path: Path, verbose: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LEAN.format(verbose=verbose)], env={**environment, "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"[{verbose}, False, True]"
