"""Follows a running training: the line on the terminal, the log in the run's folder, the metrics."""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fakescan.storage.lease import Lease, LeaseLostError
from fakescan.telemetry.train_metrics import TrainMetrics
from fakescan.terminal.duration import duration
from fakescan.terminal.live_display import BarDisplay
from fakescan.train.folder import TrainFolder, continue_log
from fakescan.train.metrics_actor import Cause, Progress, StepMetrics

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""Seconds between two looks at the metrics actor and at the lease."""
SAVE_S = 30.0
"""Seconds between two writes of the log."""

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


class Follower:
    """Moves the workers' metrics to the display and into the run's folder, and stops the run if its lease is lost."""

    def __init__(
        self, metrics_actor: Any, folder: TrainFolder, lease: Lease, metrics: TrainMetrics, max_failures: int
    ) -> None:
        self._metrics_actor = metrics_actor
        self._folder = folder
        self._lease = lease
        self._metrics = metrics
        self._max_failures = max_failures
        self.log = folder.log()
        self.restarts = 0
        self._seen = self._seen_bad = 0

    @contextmanager
    def following(self, display: TrainDisplay) -> Iterator[None]:
        """Follow the run on a thread; at the end everything is written, whatever ended it."""
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(display, ended), name="follower", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(60)
            self._metrics.end()

    def _follow(self, display: TrainDisplay, ended: threading.Event) -> None:
        waited = 0.0
        changed = False
        while True:
            last = ended.wait(POLL_S)
            if self._lease.is_lost:  # the folder is another's now
                self._metrics_actor.stop.remote()
                return
            changed |= self._move(display)
            waited += POLL_S
            if last or (changed and waited >= SAVE_S and self._lease.is_sure):
                try:
                    if last:
                        self._lease.check()  # one that could not be renewed in time is waited for
                    self._folder.save(self.log, final=last)
                except LeaseLostError:
                    return
                except OSError as error:  # the store, after all retries; the training itself goes on
                    logger.warning("the log could not be written: %s", error)
                waited, changed = 0.0, False
            if last:
                return

    def _move(self, display: TrainDisplay) -> bool:
        import ray
        from ray.exceptions import RayError

        try:
            actor = self._metrics_actor
            calls = [actor.take.remote(self._seen), actor.progress.remote(), actor.causes.remote()]
            fresh, progress, causes, bad = ray.get([*calls, actor.bad_images.remote()], timeout=30)
        except RayError:
            return False
        self._metrics.workers(**progress.model_dump(exclude={"start_step"}))
        self._say_restarts(progress, causes)
        for image, message in list(bad.items())[self._seen_bad :]:
            logger.warning("image %s is left out: %s", image, message)
        self._seen_bad = len(bad)
        self._seen += len(fresh)
        for entry in fresh:
            display.add(entry)
            self._metrics.step(
                entry.step,
                entry.at,
                loss=entry.loss,
                learning_rate=entry.lr,
                grad_norm=entry.grad_norm,
                samples=entry.samples,
                evaluation=entry.metrics,
            )
        if fresh:
            self.log = continue_log(self.log, fresh)
        return bool(fresh)

    def _say_restarts(self, progress: Progress, causes: list[Cause]) -> None:
        """Say that workers have died or failed, and from which step the run goes on."""
        restarts = max(progress.starts - 1, 0)
        if restarts > self.restarts:
            why = next((cause.message for cause in causes if cause.start == restarts), None)
            allowed = "" if self._max_failures < 0 else f" of at most {self._max_failures}"
            logger.warning(
                "a worker failed (%s); all were started again and go on from step %d (restart %d%s)",
                why or "it died without a word: killed, or ended for lack of memory",
                progress.start_step, restarts, allowed,
            )  # fmt: skip
            self.restarts = restarts
