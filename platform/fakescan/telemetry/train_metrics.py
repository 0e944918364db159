"""What a training's driver knows of it, as metrics."""

import time
from collections.abc import Mapping

from fakescan.telemetry.metric import Counter, Gauge

RUNNING = Gauge("fakescan_train_running", "1 while the training runs, 0 once it has ended.", "run")
STEP = Gauge("fakescan_train_step", "Optimizer steps made.", "run")
STEPS = Gauge("fakescan_train_steps", "Optimizer steps of the whole training.", "run")
EPOCH = Gauge("fakescan_train_epoch", "Epochs made, a fraction.", "run")
LOSS = Gauge("fakescan_train_loss", "Mean loss over the answer tokens of the latest step, in nats.", "run")
LEARNING_RATE = Gauge("fakescan_train_learning_rate", "Learning rate of the latest step.", "run")
GRAD_NORM = Gauge("fakescan_train_grad_norm", "Norm of the gradient before clipping.", "run")
SAMPLES = Counter("fakescan_train_samples", "Samples seen, those of steps that were made again included.", "run")
EVALUATION = Gauge("fakescan_train_evaluation", "Results of the latest evaluation, by metric.", "run", "metric")
CHECKPOINTS = Counter("fakescan_train_checkpoints", "Checkpoints written.", "run")
CHECKPOINT_SECONDS = Gauge("fakescan_train_checkpoint_seconds", "Seconds that writing the latest one took.", "run")
RESTARTS = Counter("fakescan_train_restarts", "Starts of the workers after the first one.", "run")
LAST_STEP = Gauge(
    "fakescan_train_last_step_timestamp_seconds", "Unix time of the latest step; before it, of the start.", "run"
)
LAST_CHECKPOINT = Gauge(
    "fakescan_train_last_checkpoint_timestamp_seconds",
    "Unix time of the latest checkpoint; before it, of the start.", "run",
)  # fmt: skip


class TrainMetrics:
    """One training, as its driver records it."""

    def __init__(self, run: str, steps: int, steps_per_epoch: int) -> None:
        """A training of so many steps begins, or goes on."""
        self._run, self._steps_per_epoch = run, steps_per_epoch
        self._restarts = self._checkpoints = 0
        RUNNING.set(1, run=run)
        STEPS.set(steps, run=run)
        for counter in (SAMPLES, CHECKPOINTS, RESTARTS):
            counter.start(run=run)
        for began in (LAST_STEP, LAST_CHECKPOINT):
            began.set(time.time(), run=run)

    def step(
        self,
        step: int,
        at: float,
        *,
        loss: float | None,
        learning_rate: float | None,
        grad_norm: float | None,
        samples: int | None,
        evaluation: Mapping[str, float],
    ) -> None:
        """A step was made at this Unix time."""
        run = self._run
        STEP.set(step, run=run)
        EPOCH.set(step / self._steps_per_epoch, run=run)
        LAST_STEP.set(at, run=run)
        for gauge, value in ((LOSS, loss), (LEARNING_RATE, learning_rate), (GRAD_NORM, grad_norm)):
            if value is not None:
                gauge.set(value, run=run)
        SAMPLES.add(samples or 0, run=run)
        for metric, value in evaluation.items():
            EVALUATION.set(value, run=run, metric=metric)

    def workers(self, *, starts: int, checkpoints: int, checkpoint_at: float, checkpoint_s: float) -> None:
        """The workers were started so often by now, and have written so many checkpoints, the latest one then."""
        run = self._run
        restarts = max(starts - 1, 0)
        RESTARTS.add(restarts - self._restarts, run=run)
        CHECKPOINTS.add(checkpoints - self._checkpoints, run=run)
        if checkpoints > self._checkpoints:
            LAST_CHECKPOINT.set(checkpoint_at, run=run)
            CHECKPOINT_SECONDS.set(checkpoint_s, run=run)
        self._restarts, self._checkpoints = restarts, checkpoints

    def end(self) -> None:
        """It has ended, whatever ended it."""
        RUNNING.set(0, run=self._run)
