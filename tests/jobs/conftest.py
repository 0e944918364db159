"""The job API of the session's head, and images for its jobs."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.local_cluster import LocalCluster

ROOT = Path(__file__).parents[2]


class Jobs:
    """The job API of one head."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self.address = address
        """Address of the head's dashboard."""

    def submit(self, command: str, **environment: str) -> str:
        """Submit `python COMMAND` in this project's folder; returns the job's id."""
        variables = {"PYTHONPATH": "platform", **environment}
        runtime = {"working_dir": str(ROOT), "env_vars": variables}
        return str(self._client.submit_job(entrypoint=f"python {command}", runtime_env=runtime))

    def log(self, job: str) -> str:
        return str(self._client.get_job_logs(job))

    def ended(self, job: str) -> str | None:
        """The job's last status, None while it runs."""
        status = self._client.get_job_status(job)
        return str(status.value) if status.is_terminal() else None

    def finish(self, job: str) -> str:
        """Wait for the job's end; returns its status."""
        return str(wait(lambda: self.ended(job), 250, f"job {job} ends", lambda: self.log(job)[-2000:]))

    def run_until(self, job: str, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something that the running job does; returns what `condition` found."""

        def found() -> Any:
            there = condition()
            assert there or not self.ended(job), f"the job ended before {what}: {self.log(job)}"
            return there

        return wait(found, 150, what, lambda: self.log(job)[-2000:])

    def stop(self, job: str) -> None:
        assert self._client.stop_job(job)
        assert self.finish(job) == "STOPPED"


def wait(condition: Callable[[], Any], seconds: float, what: str, more: Callable[[], str] = str) -> Any:
    """Look five times a second until `condition` gives something; returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what} {more()}")


def _take_token() -> None:
    """Ray reads its mode when it is imported, which another test may have done, and a token once."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._raylet import Config

    Config.initialize("")
    ensure_token_if_auth_enabled()


@pytest.fixture(scope="module")
def jobs(job_head: LocalCluster) -> Iterator[Jobs]:
    """The job API of the session's head."""
    before = dict(os.environ)
    try:
        os.environ |= job_head.environment
        _take_token()
        from ray.job_submission import JobSubmissionClient

        yield Jobs(JobSubmissionClient(job_head.dashboard), job_head.dashboard)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 small JPEG files."""
    folder = tmp_path_factory.mktemp("job-images")
    draw = np.random.default_rng(0)
    for number in range(320):
        pixels = np.kron(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8), np.ones((24, 24, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")
    return folder
