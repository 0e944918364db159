"""The metrics as Prometheus' own checker sees them (`promtool`, Debian package prometheus)."""

import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from fakescan.serve.gate.metrics import GateMetrics, Levels
from fakescan.serve.gate.request_context import RequestContext
from fakescan.serve.outcome_header import read_outcomes

pytestmark = pytest.mark.unit


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_no_complaint() -> None:
    keys = {"night-audit": datetime(2027, 1, 1, tzinfo=UTC)}
    metrics = GateMetrics(lambda: Levels(1, 2, 3, {"431": 2}, keys))
    context = RequestContext("id", "/v1/detect", "POST", 0.0)
    context.status, context.code, context.route, context.num_bytes = 200, "timeout", "/v1/detect", 3
    metrics.count(context, 0.1, read_outcomes(f"fake:{'ab' * 32}:1200 decode_s=0.1 judge_s=0.2 batch=3"))
    text = metrics.text()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
