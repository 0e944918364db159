"""docs/cluster.md: what its formulas give for its example is what it says, and they agree with the code."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakescan.engine.config import VllmConfig
from fakescan.run.parts import shard_rows_for
from fakescan.scan.pipeline import Pipeline
from fakescan.storage.lease import LEASE_S

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


def table(name: str) -> list[list[str]]:
    """Rows of one of the tables of costs, cells without backticks."""
    text = PAGE.read_text(encoding="utf-8").split(f"<!-- costs: {name} -->", 1)[1].split("<!--", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


INPUTS = {name: float(example) for name, _, example in table("inputs")}


def value(formula: str, **more: float) -> float:
    return float(eval(formula, {"__builtins__": {}, "ceil": math.ceil}, {**INPUTS, **more}))


@pytest.mark.parametrize(("what", "formula", "example"), table("formulas"), ids=lambda cell: cell[:30])
def test_a_formula_gives_its_example(what: str, formula: str, example: str) -> None:
    digits = len(example.partition(".")[2])
    assert f"{value(formula):.{digits}f}" == example, what


def test_every_input_is_used() -> None:
    used = {name for _, formula, _ in table("formulas") for name in re.findall(r"[a-z_]{4,}", formula)}
    assert set(INPUTS) == used - {"ceil"}


@pytest.mark.parametrize("row", table("gpus"), ids=lambda row: row[0])
def test_the_rates_of_gpus_are_those_of_the_formula(row: list[str]) -> None:
    _, peak, rate, hours = row
    formula = re.search(r"`(0\.\d+ \* peak / [\d.]+)`", PAGE.read_text())
    assert formula
    assert f"{value(formula[1], peak=float(peak)):.1f}" == rate
    assert f"{1e6 / float(rate) / 3600:.1f}" == hours


def test_the_example_is_one_of_the_estimates() -> None:
    rates = {row[0]: float(row[2]) for row in table("gpus")}
    assert INPUTS["rate"] == round(rates["H100, H200"])


def test_the_cores_per_gpu_are_those_of_the_formula() -> None:
    rows = table("cores")
    assert rows
    for _, cpu_ms, per_core, cores in rows:
        assert f"{1000 / float(cpu_ms):.0f}" == per_core
        assert f"{2 + INPUTS['rate'] * float(cpu_ms) / 1000:.1f}" == cores


@pytest.mark.parametrize(("seqs", "shard_rows"), [(1024, 256), (32, 256), (256, 64)])
def test_what_an_engine_has_at_hand_is_what_the_code_gives_it(seqs: int, shard_rows: int) -> None:
    (formula,) = (formula for what, formula, _ in table("formulas") if what.startswith("images that are judged again"))
    judge = SimpleNamespace(engine=VllmConfig(max_num_seqs=seqs), device="cuda")
    pipeline: Any = SimpleNamespace(judge=judge, shard_rows=shard_rows)
    assert value(formula, seqs=seqs, shard_rows=shard_rows) == Pipeline.shards_in_flight(pipeline) * shard_rows


def test_the_defaults_of_the_example_are_those_of_the_code() -> None:
    assert INPUTS["shard_rows"] == shard_rows_for(
        int(INPUTS["images"]), int(INPUTS["images"] * INPUTS["megabytes"] * 1e6)
    )
    assert INPUTS["seqs"] == VllmConfig().requests_at_once("cuda")
    assert "the lease every 6 s" in PAGE.read_text()
    assert LEASE_S / 5 == 6
