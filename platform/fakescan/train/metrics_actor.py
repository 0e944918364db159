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
    metrics: dict[str, float] = Field({})
    """Results of the evaluation after this step, where there was one."""


def log_lines(log: list[StepMetrics]) -> bytes:
    """The log as JSONL, without empty fields."""
    return "".join(entry.model_dump_json(exclude_defaults=True) + "\n" for entry in log).encode()


def read_log(lines: bytes) -> list[StepMetrics]:
    """The log that `log_lines` wrote. Raises pydantic's ValidationError."""
    return [StepMetrics.model_validate_json(line) for line in lines.splitlines() if line]


class Progress(StrictModel):
    """What the workers have done beside their steps."""

    starts: int = 0
    """Starts of the workers."""
    checkpoints: int = 0
    checkpoint_at: float = 0.0
    """Unix time of the latest one."""
    checkpoint_s: float = 0.0
    """Seconds that writing it took."""


class MetricsActor:
    """Lives in an actor without CPUs on the driver's node, so that it outlives the workers.

    All that it is told goes to its journal, a file of that node, first: started again, it knows what it knew.
    """

    def __init__(self, journal: str) -> None:
        self._log: list[StepMetrics] = []
        self._fault: str | None = None
        self._stopped = False
        self._progress = Progress()
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

    def report_start(self) -> None:
        """Called by the first worker as it begins or goes on."""
        self._advance(self._progress.model_copy(update={"starts": self._progress.starts + 1}))

    def report_checkpoint(self, seconds: float) -> None:
        """Called by the first worker: a checkpoint was written, which took so long."""
        done = {"checkpoints": self._progress.checkpoints + 1, "checkpoint_at": time.time(), "checkpoint_s": seconds}
        self._advance(self._progress.model_copy(update=done))

    def progress(self) -> Progress:
        """Starts and checkpoints so far."""
        return self._progress

    def report_fault(self, message: str) -> None:
        """Called by a worker: a mistake of the user, in one line, that no restart fixes."""
        self._note({"fault": message})
        self._fault = self._fault or message

    def fault(self) -> str | None:
        """The first such mistake, or None."""
        return self._fault

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
            self._fault = self._fault or what.get("fault")
            self._stopped |= "stop" in what
        if journal and not journal.endswith(b"\n"):
            with self._journal.open("a", encoding="utf-8") as file:
                file.write("\n")
