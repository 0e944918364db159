"""A training whose every line on stderr is JSON."""

import subprocess
from pathlib import Path

import pytest

from tests.json_lines import json_lines
from tests.striped import settings
from tests.training import train_command

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]


@pytest.mark.parametrize("more", [[], ["-v"]], ids=["quiet", "verbose"])
def test_a_training(tiny_model: Path, labelled: Path, tmp_path: Path, more: list[str]) -> None:
    command = train_command(tmp_path, settings(tiny_model, labelled, tmp_path, zero=0, workers=1, max_steps=1))
    done = subprocess.run([*command, "--log-format", "json", *more], capture_output=True, timeout=400)
    lines = json_lines(done.stderr)
    assert done.returncode == 0, done.stderr
    assert b"model: " in done.stdout
    assert any(line["logger"] == "fakescan.progress" and "step 1/1" in line["message"] for line in lines)
    assert all(line["command"] == "train" for line in lines if "via" not in line)
