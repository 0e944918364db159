"""Follows a running training: the line on the terminal, the log in the run's folder, the metrics."""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fakescan.storage.errors import classify
from fakescan.storage.lease import Lease, LeaseLostError
from fakescan.telemetry.train_metrics import TrainMetrics
from fakescan.terminal.duration import duration
from fakescan.terminal.live_display import BarDisplay
from fakescan.train.folder import continue_log
from fakescan.train.metrics_actor import Cause, Progress, StepMetrics
from fakescan.train.tracking.live_log import LiveLog
from fakescan.train.tracking.trackers import Restart, Trackers

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
        self._doing: list[str] = []
        super().__init__(steps, unit="steps")

    def add(self, entry: StepMetrics) -> None:
        """Count a step in."""
        if self._recent and entry.step <= self._recent[-1].step:
            self._recent.clear()  # a worker died; the run went back to its last checkpoint
        self._recent.append(entry)
        if entry.metrics:
            self._metrics = entry.metrics
        self._show(entry.step, at_once=bool(entry.metrics))

    def tell(self, activity: str, waits: list[str]) -> None:
        """What the workers do beside steps, and what they wait for."""
        doing = [*([activity] if activity else []), *waits]
        if doing != self._doing:
            self._doing = doing
            self._show(self._done, at_once=True)

    def _line(self) -> str:
        step = self._recent[-1].step if self._recent else 0
        return f"step {step:,}/{self._steps:,}  {self._text()}"

    def _text(self) -> str:
        if not self._recent:
            return "  ".join(["starting workers", *self._doing])
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
        return "  ".join([*words, *self._doing])


class Follower:
    """Moves the workers' metrics to wherever they are seen, and stops the run if its lease is lost.

    `log` is what earlier starts of the run have left of it.
    """

    def __init__(
        self,
        metrics_actor: Any,
        log: list[StepMetrics],
        lease: Lease,
        metrics: TrainMetrics,
        max_failures: int,
        live_log: LiveLog,
        trackers: Trackers,
    ) -> None:
        self._metrics_actor = metrics_actor
        self._lease = lease
        self._metrics = metrics
        self._max_failures = max_failures
        self._live_log = live_log
        self._trackers = trackers
        self.log = log
        self.restarts = 0
        self._seen = self._seen_bad = 0

    @contextmanager
    def following(self, display: TrainDisplay) -> Iterator[None]:
        """Follow the run on a thread; at the end everything is written, whatever ended it."""
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(display, ended), name="follower", daemon=True)
        self._live_log.add(self.log)
        self._trackers.publish(self.log)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(60)
            self._metrics.end()

    def _follow(self, display: TrainDisplay, ended: threading.Event) -> None:
        waited = SAVE_S  # the first step is written at once
        changed = False
        saving: threading.Thread | None = None
        while True:
            last = ended.wait(POLL_S)
            if self._lease.is_lost:  # the folder is another's now
                self._metrics_actor.stop.remote()
                return
            changed |= self._move(display)
            waited += POLL_S
            if self._lease.is_sure:
                self._live_log.flush()
            is_saving = saving is not None and saving.is_alive()
            if last:
                if saving is not None:
                    saving.join()
                self._save(final=True)
                return
            if changed and waited >= SAVE_S and self._lease.is_sure and not is_saving:
                # On a thread of its own: a store that is away holds up neither the display nor the end.
                saving = threading.Thread(target=self._save, name="save", daemon=True)
                saving.start()
                waited, changed = 0.0, False

    def _save(self, *, final: bool = False) -> None:
        try:
            if final:
                self._lease.check()  # one that could not be renewed in time is waited for
                self._live_log.flush()
            self._live_log.save(self.log)
        except LeaseLostError:
            return
        except OSError as error:  # the store, after all retries; the training itself goes on
            logger.warning("the log could not be written: %s", classify(error)[1])

    def _move(self, display: TrainDisplay) -> bool:
        import ray
        from ray.exceptions import RayError

        try:
            actor = self._metrics_actor
            calls = [actor.take.remote(self._seen), actor.progress.remote(), actor.causes.remote()]
            calls += [actor.bad_images.remote(), actor.waits.remote()]
            fresh, progress, causes, bad, waits = ray.get(calls, timeout=30)
        except RayError:
            return False
        self._metrics.workers(**progress.model_dump(exclude={"start_step", "activity"}))
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
        display.tell(progress.activity, waits)
        if fresh:
            self.log = continue_log(self.log, fresh)
            self._live_log.add(fresh)
            self._trackers.publish(self.log)
        return bool(fresh)

    def _say_restarts(self, progress: Progress, causes: list[Cause]) -> None:
        """Say that workers have died or failed, and from which step the run goes on."""
        restarts = max(progress.starts - 1, 0)
        if restarts > self.restarts:
            found = next((cause.message for cause in causes if cause.start == restarts), None)
            why = found or "it died without a word: killed, or ended for lack of memory"
            allowed = "" if self._max_failures < 0 else f" of at most {self._max_failures}"
            logger.warning(
                "a worker failed (%s); all were started again and go on from step %d (restart %d%s)",
                why, progress.start_step, restarts, allowed,
            )  # fmt: skip
            self._trackers.restarted(Restart(progress.start_step, restarts, why))
            self.restarts = restarts
