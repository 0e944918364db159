"""Engines that do not start or do not come back: the others do the scan, in this process, on the session's cluster."""

import json
import logging
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.scan.config import ScanConfig
from fakescan.scan.driver import run_scan
from fakescan.storage.store import Store
from tests.scan_process import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(120)]


def scan(pictures: Path, model: Path, output: Path, **engine: object) -> RunFolder:
    config = {
        "source": str(pictures),
        "output": str(output),
        "model": str(model),
        "shard_rows": 2,
        "replicas": 2,
        "engine": {"kind": "fake", **engine},
    }
    run_scan(ScanConfig.model_validate(json.loads(json.dumps(config))), display=False)
    return RunFolder(str(output), Store())


def test_two_engines_of_which_one_never_starts(
    pictures: Path, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slots = tmp_path / "slots"
    slots.mkdir()
    (slots / "one").touch()
    with caplog.at_level(logging.WARNING):
        run = scan(pictures, tiny_model, tmp_path / "run", start_slots=str(slots), max_num_seqs=1, step_s=0.05)
    rows = read_rows(run)
    assert len(rows) == 30
    assert {row["error_code"] for row in rows} == {None}
