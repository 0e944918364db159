"""Uploads beside the training: a store that hangs, goes and comes back, and kills in the middle of an upload."""

import json
import re
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Bucket, new_bucket
from tests.storage_server import SeaweedServer
from tests.striped import settings
from tests.training import errors, started, train_command, workers_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


class Output:
    """What a training prints, line by line as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines += iter(self._process.stdout.readline, "")

    @property
    def step(self) -> int:
        """The last step that was shown."""
        found = re.findall(r"^step (\d+)/", "".join(self.lines), re.MULTILINE)
        return int(found[-1]) if found else 0

    def until_step(self, step: int, timeout_s: float = 400) -> None:
        deadline = time.monotonic() + timeout_s
        while self.step < step:
            assert self._process.poll() is None, self.text
            assert time.monotonic() < deadline, f"no step {step}: {self.text}"
            time.sleep(0.05)

    def finish(self) -> str:
        self._process.wait(600)
        self._thread.join(10)
        return self.text

    @property
    def text(self) -> str:
        return "".join(self.lines)


@pytest.fixture
def bucket(own_s3: SeaweedServer) -> Bucket:
    return new_bucket(own_s3)


def config_for(bucket: Bucket, model: Path, data: Path, **more: Any) -> dict[str, Any]:
    """A run of 20 small steps for each epoch; each step is evaluated on two images, for which it has a line."""
    small = {"zero": 0, "workers": 1, "batch_size": 2, "eval_every": 1, "eval_limit": 2}
    config = settings(model, data, f"{bucket.url}/runs", **small, **more)
    return {**config, "storage_store": bucket.settings()}


def losses_in(bucket: Bucket) -> list[float]:
    fs, path = bucket.store.filesystem(f"{bucket.url}/runs/train")
    return [json.loads(line)["loss"] for line in fs.cat_file(f"{path}/metrics.jsonl").splitlines()]


def until_listed(bucket: Bucket, step: int, output: Output) -> None:
    """Wait until a checkpoint is in Ray Train's list."""
    fs, path = bucket.store.filesystem(f"{bucket.url}/runs/train/checkpoint_manager_snapshot.json")
    deadline = time.monotonic() + 400
    while True:
        with suppress(FileNotFoundError):
            if f"checkpoint_{step:07d}".encode() in fs.cat_file(path):
                return
        assert time.monotonic() < deadline, output.text
        time.sleep(0.05)


def test_training_goes_on_while_the_store_hangs(
    tiny_model: Path, labelled: Path, tmp_path: Path, own_s3: SeaweedServer, bucket: Bucket
) -> None:
    """Until the next checkpoint is due, and no longer: one is on its way at a time."""
    config = config_for(bucket, tiny_model, labelled, epochs=2, checkpoint_every=8)
    process = started(train_command(tmp_path, config))
    output = Output(process)
    output.until_step(2)
    own_s3.suspend()
    output.until_step(14)  # the upload of step 8's checkpoint hangs
    own_s3.resume()
    text = output.finish()
    assert process.returncode == 0, text
    assert "restarts after" not in text
    assert "uploading the last checkpoint" in text or "writing the model" in text
    assert len(losses_in(bucket)) == 40


def test_a_store_that_comes_back_costs_nothing(
    tiny_model: Path, labelled: Path, tmp_path: Path, own_s3: SeaweedServer, bucket: Bucket
) -> None:
    config = config_for(bucket, tiny_model, labelled, epochs=2, checkpoint_every=4, keep=1)
    process = started(train_command(tmp_path, config))
    output = Output(process)
    output.until_step(2)
    own_s3.kill()
    output.until_step(6)
    deadline = time.monotonic() + 100
    while "waiting for the store" not in output.text:
        assert time.monotonic() < deadline, output.text
        time.sleep(0.1)
    own_s3.start()
    text = output.finish()
    assert process.returncode == 0, text
    assert errors(text) == []
    assert "restarts after" not in text, "no worker was started again for it"
    assert len(losses_in(bucket)) == 40


def test_a_kill_in_the_middle_of_an_upload_leaves_no_checkpoint_that_is_taken_for_whole(
    tiny_model: Path, labelled: Path, tmp_path: Path, own_s3: SeaweedServer, bucket: Bucket
) -> None:
    """The run goes on at the checkpoint before, and is the same to the last bit."""
    config = config_for(bucket, tiny_model, labelled, epochs=2, checkpoint_every=8)
    process = started(train_command(tmp_path, config))
    output = Output(process)
    until_listed(bucket, 8, output)
    own_s3.suspend()
    output.until_step(17)  # step 16's upload hangs
    workers_of(process)[0].kill()
    own_s3.resume()
    until_listed(bucket, 16, output)
    own_s3.suspend()
    output.until_step(25)  # step 24's hangs: now the whole command is killed
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    own_s3.resume()
    again = subprocess.run(train_command(tmp_path, config), capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stderr
    assert "go on from step 8 " in output.text, "step 16's was not listed then"
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    plain = {**config, "storage_path": str(undisturbed), "checkpoint_every": 1000}
    plain.pop("storage_store")
    subprocess.run(train_command(undisturbed, plain), check=True, capture_output=True, timeout=600)
    lines = (undisturbed / "train" / "metrics.jsonl").read_text().splitlines()
    assert losses_in(bucket) == [json.loads(line)["loss"] for line in lines]
    fs, path = bucket.store.filesystem(f"{bucket.url}/runs/train/model/model.safetensors")
    assert fs.cat_file(path) == (undisturbed / "train" / "model" / "model.safetensors").read_bytes()
