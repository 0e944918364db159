"""The paper's numbers, where they are known well enough to be checked against each other."""

import pytest

from fakevlm.metrics.distortion import NONE, PAPER_ROWS
from fakevlm.metrics.published import ROWS, SOURCE, published

pytestmark = pytest.mark.unit

BENCHMARKS = ("FakeClue", "LOKI", "DD-VQA", "DMimage")


def test_every_benchmark_has_fakevlm_first_and_four_models() -> None:
    for benchmark in BENCHMARKS:
        rows = published(benchmark)
        assert len(rows) == 4
        assert [row.model for row in rows[:3]] == ["FakeVLM", "GPT-4o", "Qwen2-VL-72B"]
    assert "2503.14905" in SOURCE


def test_percentages_and_the_papers_claim() -> None:
    values = [value for row in ROWS for value in row[2:] if value is not None]
    assert len(values) == 47
    assert all(1 < value < 100 for value in values)
    for benchmark in BENCHMARKS:
        best, *others = published(benchmark)
        assert best.accuracy is not None
        assert all(best.accuracy > row.accuracy for row in others if row.accuracy is not None)


def test_what_is_not_published_is_none() -> None:
    fakevlm, *general, other = published("DMimage")
    assert (fakevlm.rouge_l, fakevlm.css) == (None, None)
    assert all(row[2:] == (None,) * 4 for row in general)
    assert (other.accuracy, other.rouge_l, other.css) == (91.8, None, None)
    assert published("dd-vqa")[-1][3:] == (90.1, 60.9, None)


def test_robustness_starts_from_the_same_row() -> None:
    fakeclue = published("fakeclue")[0]
    assert PAPER_ROWS[NONE] == (fakeclue.accuracy, fakeclue.f1)


def test_another_benchmark_has_no_rows() -> None:
    assert published("demo") == ()
