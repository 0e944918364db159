"""The actor between the workers and the driver: step metrics and faults one way, the word to stop the other."""

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


class MetricsActor:
    """Lives in an actor without CPUs that the driver owns, so that it outlives the workers."""

    def __init__(self) -> None:
        self._log: list[StepMetrics] = []
        self._fault: str | None = None
        self._stopped = False

    def add(self, entry: StepMetrics) -> None:
        """Called by the first worker after a step."""
        self._log.append(entry)

    def take(self) -> list[StepMetrics]:
        """The entries added since the last call."""
        log, self._log = self._log, []
        return log

    def report_fault(self, message: str) -> None:
        """Called by a worker: a mistake of the user, in one line, that no restart fixes."""
        self._fault = self._fault or message

    def fault(self) -> str | None:
        """The first such mistake, or None."""
        return self._fault

    def stop(self) -> None:
        """Called by the driver: the workers end before their next step."""
        self._stopped = True

    def is_stopped(self) -> bool:
        """Whether the workers are to end."""
        return self._stopped
