"""What the workers tell the driver: an actor that keeps their words until the driver asks for them."""

from typing import Any

from pydantic import BaseModel, ConfigDict

LOG = "metrics.jsonl"
"""The log's name, in the run's folder and in each checkpoint."""


class StepMetrics(BaseModel):
    """One line of the log of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    """Optimizer steps made."""
    at: float
    """Unix time."""
    loss: float | None = None
    """Mean over the answer tokens of the step's batch, in nats."""
    lr: float | None = None
    """Learning rate of the run's first group."""
    grad_norm: float | None = None
    """Before clipping."""
    samples: int | None = None
    """Samples of the step, without padding."""
    metrics: dict[str, float] = {}
    """Of an evaluation."""


def log_lines(notes: list[StepMetrics]) -> bytes:
    """The notes as JSONL, without what is empty."""
    return "".join(note.model_dump_json(exclude_defaults=True) + "\n" for note in notes).encode()


def read_log(lines: bytes) -> list[StepMetrics]:
    """What `log_lines` wrote. Raises pydantic's ValidationError."""
    return [StepMetrics.model_validate_json(line) for line in lines.splitlines() if line]


class MetricsActor:
    """Lives in an actor without CPUs that the driver owns, so that it outlives the workers."""

    def __init__(self) -> None:
        self._notes: list[StepMetrics] = []
        self._fault: str | None = None

    def add(self, note: StepMetrics) -> None:
        """Called by the first worker after a step."""
        self._notes.append(note)

    def report_fault(self, message: str) -> None:
        """A mistake of the user that no restart mends, in one line."""
        self._fault = message

    def fault(self) -> str | None:
        """The first such mistake, or None."""
        return self._fault

    def take(self) -> list[StepMetrics]:
        """What was added since the last call."""
        notes, self._notes = self._notes, []
        return notes


def start_metrics_actor() -> Any:
    """Start the board as an actor owned by this driver."""
    import ray

    return ray.remote(num_cpus=0)(MetricsActor).remote()
