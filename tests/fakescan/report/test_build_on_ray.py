"""A report made by tasks of Ray is the one that this process makes."""

from pathlib import Path

import pytest

from fakescan.report.build import ReportSettings, build_report
from fakescan.run.bulk.workers import Workers
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.report.conftest import MadeRun

pytestmark = pytest.mark.cluster


def test_the_same_files(ray_cluster: object, made_run: MadeRun, tmp_path: Path) -> None:
    here, there = (RunFolder(str(tmp_path / name), Store()) for name in ("here", "there"))
    build_report(made_run.folder, here, ReportSettings(thumbs=40))
    report = build_report(made_run.folder, there, ReportSettings(thumbs=40, workers=Workers(fewest=1)))
    names = sorted(path.name for path in Path(here.path, report.data).iterdir())
    assert len(names) > 4
    for name in names:
        assert Path(here.path, report.data, name).read_bytes() == Path(there.path, report.data, name).read_bytes(), name
