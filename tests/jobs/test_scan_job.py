"""The scan through Ray's job API, on a head that `ray start` has started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakescan.scan.run import RunFolder
from fakescan.scan.verify import verify
from fakescan.storage import Store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]

ROOT = Path(__file__).parents[2]
RUNTIME_ENV = {"working_dir": str(ROOT), "env_vars": {"PYTHONPATH": "platform"}}
BIN = Path(sys.executable).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of the job API of a head with two CPUs, as docs/jobs.md starts one."""
    port, dashboard, agent = _free_port(), _free_port(), _free_port()
    logs = tmp_path_factory.mktemp("head") / "log"
    before = dict(os.environ)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"  # the head runs a job's `python` from its own PATH
    command = [BIN / "ray", "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"]
    # Another Ray on this machine, such as the tests' own, holds the port that an agent takes by default, and a head
    # without its agent starts no job.
    command += [f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    with logs.open("wb") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        from ray.job_submission import JobSubmissionClient

        def connect() -> Any:
            try:
                return JobSubmissionClient(f"http://127.0.0.1:{dashboard}")
            except (ConnectionError, RuntimeError):
                return None

        yield _wait(connect, 60, "the head's job API answers")
    finally:
        head.send_signal(signal.SIGTERM)
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 small JPEG files."""
    folder = tmp_path_factory.mktemp("job-images")
    draw = np.random.default_rng(0)
    for number in range(320):
        pixels = np.kron(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8), np.ones((24, 24, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")
    return folder


def _submit(jobs: Any, arguments: str) -> str:
    def submit() -> str | None:
        try:
            return str(jobs.submit_job(entrypoint=f"python jobs/scan.py {arguments}", runtime_env=RUNTIME_ENV))
        except RuntimeError as error:
            if "No available agent" in str(error):  # the head answers before it can start jobs
                return None
            raise

    return str(_wait(submit, 120, "the head can start jobs"))


def _finish(jobs: Any, job: str) -> str:
    return str(
        _wait(
            lambda: (status := jobs.get_job_status(job)).is_terminal() and status.value,
            200,
            f"job {job} ends; its log: {jobs.get_job_logs(job)[-2000:]}",
        )
    )


def test_a_stopped_job_leaves_a_run_that_the_same_job_resumes(jobs: Any, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    settings = tmp_path / "scan.yaml"
    settings.write_text(
        f"source: {images}\noutput: {output}\nshard_rows: 16\n"
        "engine: {kind: fake, max_num_seqs: 4, step_s: 0.1}\nexplain: none\n"
    )
    job = _submit(jobs, f"--config {settings}")
    parts = output / "parts"

    def three_parts() -> bool:
        assert not jobs.get_job_status(job).is_terminal(), jobs.get_job_logs(job)
        return len(list(parts.glob("part-*.parquet"))) >= 3

    _wait(three_parts, 120, "the job writes parts")
    assert jobs.stop_job(job)
    assert _finish(jobs, job) == "STOPPED"
    _wait(lambda: not (output / "lease.json").exists(), 30, "the stopped job gives its lease back")
    kept = {path.name: path.read_bytes() for path in parts.glob("part-*.parquet")}
    assert 3 <= len(kept) < 20

    job = _submit(jobs, f"--config {settings}")
    assert _finish(jobs, job) == "SUCCEEDED", jobs.get_job_logs(job)
    assert verify(RunFolder(str(output), Store())).problems == []
    assert len(list(parts.glob("part-*.parquet"))) == 20
    assert all((parts / name).read_bytes() == data for name, data in kept.items()), "a part was done again"
    assert "rows: 320 of 320" in jobs.get_job_logs(job)


def test_a_wrong_setting_fails_the_job_with_one_line(jobs: Any, images: Path) -> None:
    job = _submit(jobs, f"{images} --output relative/run --engine fake")
    assert _finish(jobs, job) == "FAILED"
    log = jobs.get_job_logs(job)
    assert "fakescan: error: output: relative/run would be lost" in log
    assert "Traceback" not in log
