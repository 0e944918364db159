"""The scan through Ray's job API, on a head that `ray start` has started."""

from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from tests.jobs.conftest import Jobs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]


def test_a_job_scans_and_the_same_job_again_has_nothing_to_do(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    for _ in range(2):
        job = jobs.submit(f"jobs/scan.py {images} --output {output} --engine fake")
        assert jobs.finish(job) == "SUCCEEDED", jobs.log(job)
        assert verify(RunFolder(str(output), Store())).problems == []
        assert "rows: 320 of 320" in jobs.log(job)


def test_a_wrong_setting_fails_the_job_with_one_line(jobs: Jobs, images: Path) -> None:
    job = jobs.submit(f"jobs/scan.py {images} --output relative/run --engine fake")
    assert jobs.finish(job) == "FAILED"
    log = jobs.log(job)
    assert "fakescan: error: output: relative/run would be lost" in log
    assert "Traceback" not in log
