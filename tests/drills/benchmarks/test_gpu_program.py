"""The GPU bench with all its parts: simulated, and on the CPU with real vLLM and the built-in model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import ROOT
from tests.benchmarks.test_gpu_program import simulated

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def bench(work: Path, *arguments: str) -> dict[str, Any]:
    file = work / "sent.json"
    command = [sys.executable, "benchmarks/gpu.py", *arguments, "--work", str(work), "--output", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_two_simulated_engines_are_compared(tmp_path: Path) -> None:
    found = simulated(tmp_path, "engine,fp8,reference")
    rows = {(row["part"], row["mode"]): row for row in found["simulated_rows"]}
    assert rows.keys() == {(part, mode) for part in ("engine", "engine FP8") for mode in ("score", "explained")}
    assert rows["engine", "score"]["images_s"]["median"] == pytest.approx(160, rel=0.2)
    assert rows["engine FP8", "explained"]["images_s"]["median"] == pytest.approx(80, rel=0.2)
    assert rows["engine", "score"]["share_of_peak"] == pytest.approx(1, rel=0.2)
    assert rows["engine", "explained"]["running"] == pytest.approx(8, rel=0.2)
    fp8 = next(one for one in found["simulated_comparisons"] if one["of"] == "engine FP8")
    assert fp8["differences"]["flips"] == 0


def test_simulated_scan_is_a_share_of_its_ideal(tmp_path: Path) -> None:
    found = bench(tmp_path, "--device", "simulated", "--quick")
    rows = {(row["part"], row["mode"]): row for row in found["simulated_rows"]}
    for mode in ("score", "explained"):
        assert 0.3 < rows["scan", mode]["share_of_peak"] < 1.2
        assert rows["scan", mode]["cores"] > 0


def test_on_a_cpu_every_part_but_fp8_has_figures(tmp_path: Path) -> None:
    found = bench(tmp_path, "--device", "cpu", "--quick")
    rows = {(row["part"], row["mode"]): row for row in found["rows"]}
    for part in ("engine", "scan", "loop", "generate"):
        for mode in ("score", "explained"):
            row = rows[part, mode]
            assert row["images_s"]["median"] > 0, row
            assert 0 < row["running"] <= row["max_num_seqs"], row
    assert rows["engine FP8", "score"]["error"]
    (reference,) = [one for one in found["comparisons"] if one["base"] == "float32 on the CPU"]
    assert reference["differences"]["score_largest"] < 0.01
    assert reference["differences"]["flips"] == 0
    assert reference["differences"]["auroc"] > 0.5
