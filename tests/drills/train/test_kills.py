"""Trainings that are killed, a worker or the whole job, or taken over; and the shared runs that only drills need."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest

from fakescan.storage.lease import TRAINING, Lease
from fakescan.train.config import TrainConfig
from fakescan.train.driver import run_train
from fakevlm.errors import UserError
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


def test_a_training_stops_when_another_has_taken_its_run_over(
    tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str
) -> None:
    config = settings(tiny_model, labelled, tmp_path, zero=0, workers=1, epochs=500, checkpoint_every=5)
    command = [*train_command(tmp_path, config), "--ray-address", ray_cluster]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run_folder = tmp_path / "train"
    until(lambda: checkpoints(run_folder), process, "the first checkpoint")
    other = Lease(fsspec.filesystem("file"), str(run_folder / "lease.json"), TRAINING)
    other.acquire(force=True)
    try:
        output, _ = process.communicate(timeout=100)
        assert json.loads((run_folder / "lease.json").read_text())["pid"] == os.getpid(), "the other one keeps it"
    finally:
        other.release()
    assert process.returncode == 1, output
    assert output.splitlines()[-1] == "fakescan: error: another training has taken this run over; this one stops"
    assert not (run_folder / "model").exists()
    assert not (run_folder / "result.json").exists(), "nothing more is written into a folder of somebody else"


def test_workers_of_a_suspended_command_write_nothing_into_a_run_that_was_taken_over(
    tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str
) -> None:
    config = settings(tiny_model, labelled, tmp_path, zero=0, workers=1, epochs=500, checkpoint_every=2, keep=2)
    command = [*train_command(tmp_path, config), "--ray-address", ray_cluster]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run_folder = tmp_path / "train"
    until(lambda: checkpoints(run_folder), process, "the first checkpoint")
    os.kill(process.pid, signal.SIGSTOP)
    other = Lease(fsspec.filesystem("file"), str(run_folder / "lease.json"), TRAINING)
    other.acquire(force=True)
    try:
        until(lambda: is_quiet(run_folder, 6.0), process, "the end of its writing")  # a step takes less than a second
        before = listing(run_folder)
        os.kill(process.pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=100)
        assert listing(run_folder) == before
    finally:
        other.release()
    assert process.returncode == 1, output
    assert output.splitlines()[-1] == "fakescan: error: another training has taken this run over; this one stops"


def listing(folder: Path) -> dict[Path, int]:
    """Files of a run but for its lease, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file() and path.stem != "lease"}


def is_quiet(folder: Path, seconds: float) -> bool:
    """Whether nothing has been written for so long."""
    with suppress(FileNotFoundError):  # one that is deleted meanwhile
        return time.time() - max(listing(folder).values()) / 1e9 > seconds
    return False


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_that_is_killed_ten_times_at_random_moments_is_the_same_to_the_last_bit(
    seed: int, tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    """Twenty kills over both: most hit a worker alone, which is started again, some the whole command.

    Half of them come a random time after the one before, which is often while all is being started; the other half a
    random time after the next checkpoint, while steps are made or the one after it is written. One of the runs augments
    its images and draws its classes equally often.
    """
    draw = random.Random(seed)
    more = {"augment": {"probability": 0.8}, "balance": "sampling", "class_weights": {"fake": 2}} if seed else {}
    config = settings(
        tiny_model,
        labelled,
        tmp_path,
        zero=0,
        workers=1,
        epochs=12,
        checkpoint_every=3,
        max_failures=-1,
        keep=1,
        **more,
    )
    command = train_command(tmp_path, config)
    run_folder = tmp_path / "train"
    process, kills = start(command), 0
    try:
        while kills < 10:
            if kills % 2:
                before = folders(run_folder)
                until(lambda: folders(run_folder) - before, process, "another checkpoint")  # noqa: B023
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.0, 4.0 if kills % 2 else 15.0))
            assert process.poll() is None, process.stdout and process.stdout.read()
            workers = [child for child in children_of(process) if "RayTrainWorker" in process_title(child)]
            if kills % 4 == 3:
                kill([psutil.Process(process.pid), *children_of(process)])
                process.wait()
                process = start(command)
            elif workers:
                kill(workers[:1])
            else:
                continue  # none has been started yet
            kills += 1
            print(f"kill {kills}: {max(folders(run_folder), default='no checkpoint')}")
        output, _ = process.communicate(timeout=600)
    finally:
        kill([*children_of(process), *([psutil.Process(process.pid)] if process.poll() is None else [])])
    assert process.returncode == 0, output
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    config = {**config, "storage_path": str(undisturbed), "checkpoint_every": 1000, "eval_every": 3}
    subprocess.run(train_command(undisturbed, config), check=True, capture_output=True, timeout=600)
    assert losses(run_folder) == losses(undisturbed / "train")
    for name in ("model.safetensors", "config.json"):
        assert (run_folder / "model" / name).read_bytes() == (undisturbed / "train" / "model" / name).read_bytes()


def folders(run: Path) -> set[str]:
    """Names of a run's checkpoints."""
    return {path.name for path in run.glob("checkpoint_*/")}


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):  # a short-lived one
            process.kill()


def test_two_workers_without_deepspeed_learn_as_one_does(plain: Any, trained: Callable[[str], Any]) -> None:
    done = trained("zero 0")
    assert losses(Path(done.url)) == pytest.approx(losses(Path(plain.url)), rel=2e-3)
    assert_same_weights(Path(done.model), Path(plain.model))


def test_a_mistake_that_only_a_worker_meets_is_one_line(
    tiny_model: Path, labelled: Path, tmp_path: Path, ray_cluster: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(labelled, data)
    broken = data / "object" / "real" / "train-1.png"
    broken.write_bytes(b"no image")
    config = TrainConfig.model_validate(settings(tiny_model, data, tmp_path, zero=0))
    with pytest.raises(UserError, match=r"^data: image object/real/train-1.png: not_an_image: "):
        run_train(config, ray_address=ray_cluster)
