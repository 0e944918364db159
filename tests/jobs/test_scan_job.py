"""The scan through Ray's job API, on a head that `ray start` has started."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan.run.folder import RunFolder
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from tests.jobs.conftest import Jobs, wait

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 small JPEG files."""
    folder = tmp_path_factory.mktemp("job-images")
    draw = np.random.default_rng(0)
    for number in range(320):
        pixels = np.kron(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8), np.ones((24, 24, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")
    return folder


def test_a_stopped_job_leaves_a_run_that_the_same_job_resumes(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    settings = tmp_path / "scan.yaml"
    settings.write_text(
        f"source: {images}\noutput: {output}\nshard_rows: 16\n"
        "engine: {kind: fake, max_num_seqs: 4, step_s: 0.1}\nexplain: none\n"
    )
    job = jobs.submit(f"jobs/scan.py --config {settings}")
    parts = output / "parts"

    jobs.run_until(job, lambda: len(list(parts.glob("part-*.parquet"))) >= 3, "the job writes parts")
    jobs.stop(job)
    wait(lambda: not (output / "lease.json").exists(), 30, "the stopped job gives its lease back")
    kept = {path.name: path.read_bytes() for path in parts.glob("part-*.parquet")}
    assert 3 <= len(kept) < 20

    job = jobs.submit(f"jobs/scan.py --config {settings}")
    assert jobs.finish(job) == "SUCCEEDED", jobs.log(job)
    assert verify(RunFolder(str(output), Store())).problems == []
    assert len(list(parts.glob("part-*.parquet"))) == 20
    assert all((parts / name).read_bytes() == data for name, data in kept.items()), "a part was done again"
    assert "rows: 320 of 320" in jobs.log(job)


def test_a_wrong_setting_fails_the_job_with_one_line(jobs: Jobs, images: Path) -> None:
    job = jobs.submit(f"jobs/scan.py {images} --output relative/run --engine fake")
    assert jobs.finish(job) == "FAILED"
    log = jobs.log(job)
    assert "fakescan: error: output: relative/run would be lost" in log
    assert "Traceback" not in log
