"""cluster/sky/scan.yaml: what its commands do on each node, with stand-ins for SkyPilot's program and fakescan.

tests/drills/cluster_files/test_clouds.py has SkyPilot's own loader read it.
"""

import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.unit

TASK = yaml.safe_load((Path(__file__).parents[3] / "cluster" / "sky" / "scan.yaml").read_text())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's home as SkyPilot and the set-up leave it."""
    programs = tmp_path / "fakescan-env" / "bin"
    templates = tmp_path / "sky_templates" / "ray"
    for folder in (programs, templates):
        folder.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
    (programs / "fakescan").write_text(
        '#!/bin/bash\nprintf \'%s\\n\' "$RAY_ADDRESS" "$@" > ~/said\nexit ${STATUS:-0}\n'
    )
    (templates / "start_cluster").write_text('#!/bin/bash\necho "$RAY_AUTH_MODE" > ~/started\n')
    for file in (programs / "fakescan", templates / "start_cluster"):
        file.chmod(0o755)
    return tmp_path


def run(home: Path, rank: int, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **{name: value or "" for name, value in TASK["envs"].items()},
        "HOME": str(home), "PATH": "/usr/bin:/bin", "SOURCE": "s3://bucket/a b", "OUTPUT": "s3://bucket/audit",
        "RAY_AUTH_TOKEN": "a token", "SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    }  # fmt: skip
    return subprocess.run(
        ["bash", "-c", TASK["run"]], env={**variables, **environment}, capture_output=True, text=True, cwd=home
    )


def test_ray_is_started_on_every_node_and_the_scan_on_the_first(home: Path) -> None:
    assert run(home, 1).returncode == 0
    assert (home / "started").read_text() == "token\n"
    assert not (home / "said").exists()
    assert run(home, 0, OPTIONS="--explain none").returncode == 0
    assert (home / "said").read_text().splitlines() == [
        "10.0.0.1:6379", "scan", "s3://bucket/a b", "--output", "s3://bucket/audit", "--model", "lingcco/fakeVLM",
        "--device", "cuda", "--explain", "none",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [1, 2])
def test_skypilot_sees_the_status_of_the_scan(home: Path, status: int) -> None:
    """1 is started again, which resumes; 2, a wrong setting, is not."""
    assert run(home, 0, STATUS=str(status)).returncode == status
    assert TASK["resources"]["job_recovery"]["recover_on_exit_codes"] == [1]


def test_without_a_token_nothing_is_started(home: Path) -> None:
    done = run(home, 0, RAY_AUTH_TOKEN="")
    assert done.returncode != 0
    assert "give one: --secret RAY_AUTH_TOKEN" in done.stderr
    assert not (home / "started").exists()
