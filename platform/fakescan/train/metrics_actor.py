"""The actor between the workers and the driver: step metrics and faults one way, the word to stop the other."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from fakescan.settings.strict_model import StrictModel

LOG = "metrics.jsonl"
"""The log's name, in the run's folder and in each checkpoint."""


class StepMetrics(StrictModel):
    """One line of the log of a run."""

    step: int
    """Optimizer steps made."""
    at: float
    """Unix time."""
    loss: float | None = None
    """Mean over the answer tokens of the step's batch, in nats."""
    lr: float | None = None
    """Learning rate of the run's first group."""
    grad_norm: float | None = None
    """Norm of the gradient before clipping."""
    samples: int | None = None
    """Samples of the step, without padding."""
    fakes: int | None = None
    """Those of them that are labelled fake."""
    augmented: int | None = None
    """Those of them whose image was changed at random."""
    metrics: dict[str, float] = Field({})
    """Results of the evaluation after this step, where there was one."""

    @property
    def scalars(self) -> dict[str, float]:
        """All numbers of the step by the names that TensorBoard and trackers show: `train/loss`, `eval/accuracy` ..."""
        values = {"train/loss": self.loss, "train/lr": self.lr, "train/grad_norm": self.grad_norm}
        values |= {f"train/share_{name}": value for name, value in self.shares.items()}
        values |= {name.replace("_", "/", 1): value for name, value in self.metrics.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the step's samples: `fakes`, and `augmented` where the run augments."""
        counts = {"fakes": self.fakes, "augmented": self.augmented}
        return {name: count / self.samples for name, count in counts.items() if count is not None and self.samples}


def log_lines(log: list[StepMetrics]) -> bytes:
    """The log as JSONL, without empty fields."""
    return "".join(entry.model_dump_json(exclude_defaults=True) + "\n" for entry in log).encode()


def read_log(lines: bytes) -> list[StepMetrics]:
    """The log that `log_lines` wrote. Raises pydantic's ValidationError."""
    return [StepMetrics.model_validate_json(line) for line in lines.splitlines() if line]


class Fault(StrictModel):
    """What no restart of the workers changes, in one line."""

    message: str
    is_mistake: bool = True
    """Whether it is a mistake of the user's, not of the machine or a store."""


class Cause(StrictModel):
    """Why a worker failed, where another start may fare better."""

    start: int
    """Which start of the workers it was, from 1."""
    message: str


class TrainResult(StrictModel):
    """What a run that has ended says of itself; what its model's card and the next start of the same command say."""

    steps: int
    """Optimizer steps made."""
    steps_per_epoch: int
    samples: int
    """Records of the data, those that were left out included."""
    fakes: int | None = None
    """Those of them that are labelled fake; None in runs of earlier versions."""
    left_out: int = 0
    """Records that the settings name in `exclude`."""
    bad_images: int = 0
    """Records that were left out because their image cannot be read."""
    stopped_early: bool = False
    """Whether it ended by `patience`."""
    exported_step: int
    """The step whose weights are the model."""
    held_out: str | None = None
    """The split of the evaluations."""
    metrics: dict[str, float] = Field({})
    """Results of the evaluation of the exported step."""


class Progress(StrictModel):
    """What the workers have done beside their steps."""

    starts: int = 0
    """Starts of the workers."""
    start_step: int = 0
    """The step from which they went on at the latest one."""
    checkpoints: int = 0
    checkpoint_at: float = 0.0
    """Unix time of the latest one."""
    checkpoint_s: float = 0.0
    """Seconds from the beginning of it until it was in the run's folder."""
    activity: str = ""
    """What they do after the last step."""


class MetricsActor:
    """Lives in an actor without CPUs on the driver's node, so that it outlives the workers.

    All that it is told goes to its journal, a file of that node, first: started again, it knows what it knew.
    """

    def __init__(self, journal: str) -> None:
        self._log: list[StepMetrics] = []
        self._fault: Fault | None = None
        self._causes: list[Cause] = []
        self._bad_images: dict[str, str] = {}
        self._result: TrainResult | None = None
        self._stopped = False
        self._progress = Progress()
        self._waits: dict[int, list[str]] = {}
        self._journal = Path(journal)
        if self._journal.exists():
            self._replay(self._journal.read_bytes())

    def add(self, entry: StepMetrics) -> None:
        """Called by the first worker after a step."""
        self._note({"entry": entry.model_dump(mode="json", exclude_defaults=True)})
        self._log.append(entry)

    def take(self, seen: int) -> list[StepMetrics]:
        """The entries after the first `seen`."""
        return self._log[seen:]

    def report_start(self, step: int = 0) -> None:
        """Called by the first worker as it begins, or goes on from a step."""
        self._waits.clear()
        begun = {"starts": self._progress.starts + 1, "start_step": step, "activity": ""}
        self._advance(self._progress.model_copy(update=begun))

    def report_checkpoint(self, seconds: float) -> None:
        """Called by the first worker: a checkpoint was written, which took so long."""
        done = {"checkpoints": self._progress.checkpoints + 1, "checkpoint_at": time.time(), "checkpoint_s": seconds}
        self._advance(self._progress.model_copy(update=done))

    def progress(self) -> Progress:
        """Starts and checkpoints so far."""
        return self._progress

    def report_activity(self, activity: str) -> None:
        """Called by the first worker when it has made its last step: what it does now."""
        self._advance(self._progress.model_copy(update={"activity": activity}))

    def report_waits(self, rank: int, waits: list[str]) -> None:
        """Called by a worker whenever it begins or ends to wait for a store; what it waits for now."""
        self._waits[rank] = waits

    def waits(self) -> list[str]:
        """What workers wait for, each once."""
        return sorted({wait for waits in self._waits.values() for wait in waits})

    def report_fault(self, message: str, *, is_mistake: bool = True) -> None:
        """Called by a worker: what no restart fixes, in one line."""
        fault = Fault(message=message, is_mistake=is_mistake)
        self._note({"fault": fault.model_dump()})
        self._fault = self._fault or fault

    def fault(self) -> Fault | None:
        """The first such fault, or None."""
        return self._fault

    def report_cause(self, message: str) -> None:
        """Called by a worker that fails, with the reason: another start may fare better."""
        cause = Cause(start=self._progress.starts, message=message)
        self._note({"cause": cause.model_dump()})
        self._causes.append(cause)

    def causes(self) -> list[Cause]:
        """These reasons, of all starts, in the order of their reports."""
        return self._causes

    def report_bad_image(self, image: str, message: str) -> int:
        """Called by a worker for a record whose image cannot be read; the number of such records so far."""
        if image not in self._bad_images:
            self._note({"bad_image": [image, message]})
            self._bad_images[image] = message
        return len(self._bad_images)

    def bad_images(self) -> dict[str, str]:
        """Images that could not be read, with the reasons, in the order of their reports."""
        return self._bad_images

    def report_result(self, result: TrainResult) -> None:
        """Called by the first worker when the model is written."""
        self._note({"result": result.model_dump(mode="json")})
        self._result = result

    def result(self) -> TrainResult | None:
        """What the workers say of the run when it has ended and its model is written; else None."""
        return self._result

    def stop(self) -> None:
        """Called by the driver: the workers end before their next step."""
        self._note({"stop": True})
        self._stopped = True

    def is_stopped(self) -> bool:
        """Whether the workers are to end."""
        return self._stopped

    def _advance(self, progress: Progress) -> None:
        self._note({"progress": progress.model_dump()})
        self._progress = progress

    def _note(self, what: dict[str, Any]) -> None:
        # On a full disk it is still known here.
        with suppress(OSError), self._journal.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(what)}\n")

    def _replay(self, journal: bytes) -> None:
        for line in journal.splitlines():
            try:
                what = json.loads(line)
            except ValueError:  # the line that was being written as the process ended; whoever sent it sends it again
                continue
            if "entry" in what:
                self._log.append(StepMetrics.model_validate(what["entry"]))
            if "progress" in what:
                self._progress = Progress.model_validate(what["progress"])
            if "fault" in what:
                self._fault = self._fault or Fault.model_validate(what["fault"])
            if "cause" in what:
                self._causes.append(Cause.model_validate(what["cause"]))
            if "bad_image" in what:
                image, message = what["bad_image"]
                self._bad_images[image] = message
            if "result" in what:
                self._result = TrainResult.model_validate(what["result"])
            self._stopped |= "stop" in what
        if journal and not journal.endswith(b"\n"):
            with self._journal.open("a", encoding="utf-8") as file:
                file.write("\n")
