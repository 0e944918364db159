"""A scan with logs in JSON that is stopped while it is at work."""

import signal
from pathlib import Path

import pytest

from tests.json_lines import json_lines
from tests.scan_process import running


@pytest.mark.cluster
def test_a_scan_that_is_interrupted(pictures: Path, tmp_path: Path) -> None:
    slow = tmp_path / "scan.yaml"
    slow.write_text(
        f"source: {pictures}\noutput: {tmp_path / 'run'}\nengine: {{kind: fake, step_s: 0.5}}\nshard_rows: 2\n"
    )
    with running("scan", "--config", slow, "--log-format", "json") as process:
        process.wait_for("its start", lambda: "waiting for the engine" in process.err)
        process.signal(signal.SIGTERM)
        assert process.end(60) == 130
        lines = json_lines(process.err)
    assert "run the same command again to resume" in lines[-1]["message"]
    assert lines[-1]["exit_status"] == 130
