"""The GPU bench with two simulated engines, one of them in FP8, and what it says of the difference."""

from pathlib import Path

import pytest

from tests.benchmarks.test_gpu_program import simulated

pytestmark = pytest.mark.unit


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
