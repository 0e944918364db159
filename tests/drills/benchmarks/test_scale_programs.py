"""The programs that measure big runs, small: they follow the code that they measure, and account for every row."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("scale.py", ["--rows", "20000", "--shards", "200", "--plan-rows", "1000000"]),
        ("scale_parts.py", ["--parts", "40"]),
    ],
    ids=["scale", "parts"],
)
def test_a_program_reaches_its_report(program: str, arguments: list[str], tmp_path: Path) -> None:
    """Times mean nothing at this size: floors of speed may be missed, those that count rows may not."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{program}", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = done.stdout + done.stderr
    (result,) = re.findall(r"^benchmarks/results/\S+\.json$", done.stdout, re.MULTILINE) or pytest.fail(told)
    (ROOT / result).unlink()
    assert done.returncode in (0, 1), told
    assert not [line for line in done.stdout.splitlines() if line.startswith("MISS  rows")], told
