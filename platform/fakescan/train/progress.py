"""The line on the terminal that follows a running training."""

from collections import deque

from fakescan.terminal.duration import duration
from fakescan.terminal.live_display import BarDisplay
from fakescan.train.metrics_actor import StepMetrics

_STEPS = 50
"""Steps over which the pace is averaged."""


class TrainDisplay(BarDisplay):
    """Follows a training on stderr. Use it as a context manager."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._recent: deque[StepMetrics] = deque(maxlen=_STEPS)
        self._metrics: dict[str, float] = {}
        super().__init__(steps, unit="steps")

    def add(self, entry: StepMetrics) -> None:
        """Count a step in."""
        if self._recent and entry.step <= self._recent[-1].step:
            self._recent.clear()  # a worker died; the run went back to its last checkpoint
        self._recent.append(entry)
        if entry.metrics:
            self._metrics = entry.metrics
        self._show(entry.step, at_once=bool(entry.metrics))

    def _line(self) -> str:
        step = self._recent[-1].step if self._recent else 0
        return f"step {step:,}/{self._steps:,}  {self._text()}"

    def _text(self) -> str:
        if not self._recent:
            return "starting workers"
        first, last = self._recent[0], self._recent[-1]
        words = [f"loss {last.loss:.4f}", f"lr {last.lr:.2e}"]
        seconds = last.at - first.at
        if seconds > 0:
            done = sum(entry.samples or 0 for entry in list(self._recent)[1:])
            left = (self._steps - last.step) * seconds / (len(self._recent) - 1)
            words += [f"{done / seconds:.1f} samples/s", f"ETA {duration(left)}"]
        for name in ("eval_accuracy", "eval_f1_fake", "eval_f1_real", "eval_auroc"):
            if name in self._metrics:
                words.append(f"{name.removeprefix('eval_')} {self._metrics[name]:.3f}")
        return "  ".join(words)
