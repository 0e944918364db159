"""The nightly scan of cluster/kuberay, two nights long."""

import shutil
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.jobs.conftest import ROOT, Jobs
from tests.jobs.kuberay_jobs import edited, submitter

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]


def test_the_night_scans_what_is_new(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    runs = tmp_path / "nights"
    manifests = edited(tmp_path, SOURCE=source, NIGHTLY_RUNS=runs, MODEL=ROOT / "fakevlm/assets/small")
    rows = []
    for added in ("a.jpg", "b.jpg"):
        done = submitter(jobs, manifests / "overlays/nightly-gke-l4-spot", "RayCronJob", tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        (today,) = [folder for folder in runs.iterdir() if not folder.name.startswith("2026-01-0")]
        rows.append(RunFolder(str(today), Store()).open().rows)
        today.rename(runs / f"2026-01-0{len(rows)}")  # a day goes by
        shutil.copy(images / "000.jpg", source / added)
    assert rows == [320, 1]
