"""Trainings that are killed, a worker or the whole job."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.striped import settings
from tests.training import assert_same_weights, checkpoints, losses, process_title, train_command, until

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


def test_a_killed_job_resumes_at_its_last_checkpoint(
    plain: Any, tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    command = train_command(tmp_path, settings(tiny_model, labelled, tmp_path, zero=0, workers=1, checkpoint_every=2))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run_folder = tmp_path / "train"
    until(lambda: checkpoints(run_folder), process, "the first checkpoint")
    everything = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    for pid in everything:
        with suppress(ProcessLookupError):  # a short-lived one
            os.kill(pid, signal.SIGKILL)
    process.wait()
    half = run_folder / "checkpoint_2026-01-01_00-00-00.000000"
    half.mkdir()
    (half / "torch.pt").write_bytes(b"an upload that was never finished")
    again = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert again.returncode == 0, again.stderr
    assert not half.exists()
    assert len(list(run_folder.glob("checkpoint_*/"))) <= 2, "as many are kept as the settings say"
    assert losses(run_folder) == pytest.approx(losses(Path(plain.url)), rel=2e-3), "the log has every step"
    assert_same_weights(run_folder / "model", Path(plain.model))
