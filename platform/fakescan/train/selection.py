"""Which checkpoint is the best one so far by an evaluation's result, and when a run has stopped to get better."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fakescan.train.metrics_actor import StepMetrics
from fakevlm.errors import UserError

_LOWER_IS_BETTER = frozenset({"log_loss"})


class Selection:
    """Follows the evaluations of a run. All it knows is in the run's log, so that a resumed run decides the same."""

    def __init__(self, best_by: str | None, patience: int | None, log: Sequence[StepMetrics] = ()) -> None:
        self._best_by = best_by
        self._patience = patience
        self._best: float | None = None
        self.evaluations_since = 0
        """Evaluations since the best one."""
        for entry in log:
            self.add(entry.metrics)

    @property
    def attribute(self) -> str | None:
        """The name of what is compared, in the log and beside a checkpoint."""
        return None if self._best_by is None else f"eval_{self._best_by}"

    @property
    def order(self) -> Literal["max", "min"]:
        """`max` or `min`: which value is the best."""
        return "min" if self._best_by in _LOWER_IS_BETTER else "max"

    @property
    def is_over(self) -> bool:
        """Whether so many evaluations have brought nothing better that the run ends."""
        return self._patience is not None and self.evaluations_since >= self._patience

    def add(self, metrics: Mapping[str, float]) -> bool:
        """Count an evaluation in, where there was one; whether it is better than all before.

        Raises UserError where it has no result to compare.
        """
        if self.attribute is None or not metrics:
            return False
        value = metrics.get(self.attribute)
        if value is None:
            raise UserError(
                f"best_by: {self._best_by} is not defined on the held-out split, which has images of one class only; "
                "name another eval_split, or compare by log_loss"
            )
        if self._best is not None and self._key(value) <= self._key(self._best):
            self.evaluations_since += 1
            return False
        self._best, self.evaluations_since = value, 0
        return True

    def best_of(self, results: Sequence[Mapping[str, Any]]) -> int | None:
        """The position of the best of these results, the earliest step among equals; None where none has a value."""
        name = self.attribute
        if name is None:
            return None
        having = [number for number, result in enumerate(results) if name in result]
        return max(
            having, key=lambda number: (self._key(results[number][name]), -results[number]["step"]), default=None
        )

    def _key(self, value: float) -> float:
        return -value if self.order == "min" else value
