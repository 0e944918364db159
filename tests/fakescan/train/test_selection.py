"""Selection: the best evaluation so far, and when to stop waiting for a better one."""

from typing import Any

import pytest

from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.selection import Selection
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


def evaluations(values: list[float], name: str = "auroc") -> list[StepMetrics]:
    return [StepMetrics(step=4 * n, at=n, metrics={f"eval_{name}": value}) for n, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("best_by", "values", "better", "over_after"),
    [
        ("auroc", [0.5, 0.7, 0.6, 0.65, 0.8], [True, True, False, False, True], 4),
        ("log_loss", [0.9, 0.4, 0.4, 0.5, 0.3], [True, True, False, False, True], 4),
        ("accuracy", [0.5, 0.6, 0.7, 0.8, 0.9], [True] * 5, None),
    ],
)
def test_better_and_over(best_by: str, values: list[float], better: list[bool], over_after: int | None) -> None:
    selection, over = Selection(best_by, patience=2), None
    for number, entry in enumerate(evaluations(values, best_by), 1):
        assert selection.add(entry.metrics) is better[number - 1]
        if selection.is_over and over is None:
            over = number
    assert over == over_after


def test_a_resumed_run_decides_as_the_one_before() -> None:
    best_by = "auroc"
    log = evaluations([0.5, 0.7, 0.6, 0.65])
    assert Selection(best_by, 2, log).is_over
    assert not Selection(best_by, 3, log).is_over, "a raised patience goes on"
    assert Selection(best_by, 2, log).evaluations_since == 2
    assert not Selection(None, None, log).is_over


def test_steps_without_an_evaluation_count_for_nothing() -> None:
    selection = Selection("auroc", 1)
    assert selection.add({"eval_auroc": 0.5})
    assert not selection.add({})
    assert not selection.is_over


@pytest.mark.parametrize(
    ("best_by", "results", "best"),
    [
        ("auroc", [{"step": 4, "eval_auroc": 0.7}, {"step": 8, "eval_auroc": 0.9}, {"step": 12}], 1),
        ("auroc", [{"step": 8, "eval_auroc": 0.9}, {"step": 4, "eval_auroc": 0.9}], 1),
        ("log_loss", [{"step": 4, "eval_log_loss": 0.7}, {"step": 8, "eval_log_loss": 0.9}], 0),
        ("auroc", [{"step": 4}], None),
        (None, [{"step": 4, "eval_auroc": 0.7}], None),
    ],
)
def test_the_best_of_the_checkpoints(best_by: str | None, results: list[dict[str, Any]], best: int | None) -> None:
    assert Selection(best_by, None).best_of(results) == best


def test_a_result_that_is_not_defined() -> None:
    with pytest.raises(UserError, match=r"^best_by: auroc is not defined .* one class"):
        Selection("auroc", None).add({"eval_samples": 4.0, "eval_accuracy": 0.5})
