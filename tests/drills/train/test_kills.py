"""A training whose worker is killed."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.striped import settings
from tests.training import checkpoints, losses, process_title, train_command, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]


def test_a_killed_worker_is_replaced_and_the_run_goes_on_as_if_nothing_had_been(
    plain: Any, tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    command = train_command(tmp_path, settings(tiny_model, labelled, tmp_path, zero=2, checkpoint_every=2))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run_folder = tmp_path / "train"
    until(lambda: checkpoints(run_folder), process, "the first checkpoint")
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "RayTrainWorker" in process_title(child)
    ]
    os.kill(workers[0].pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert losses(run_folder) == pytest.approx(losses(Path(plain.url)), rel=2e-3)
