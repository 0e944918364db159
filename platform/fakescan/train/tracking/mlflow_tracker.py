"""MLflow: the run as its tracking server shows it, or a store of its own in a file or a database."""

import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, ClassVar, TypeVar

from fakescan.storage.url import redact
from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking.tracker import PROJECT, Ending, Opened, TrackedRun, Tracker
from fakevlm.errors import UserError
from fakevlm.remote import shortened

logger = logging.getLogger(__name__)

T = TypeVar("T")

_STATUS: Mapping[Ending, str] = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})
_LOSS = "train/loss"
_VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # It is asked again by this project; its own seven retries of two minutes each hold up the end.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_METRICS_AT_ONCE, _PARAMETERS_AT_ONCE, _VALUE = 1000, 100, 500
"""Limits of MLflow's own: metrics and parameters of one request; characters of a value, of its oldest servers."""


class MlflowTracker(Tracker):
    """Set up by MLflow's own variables: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, those of its credentials."""

    name: ClassVar[str] = "mlflow"

    def __init__(self) -> None:
        self._client: Any = None
        self._id = ""

    @classmethod
    def check(cls) -> None:
        """See Tracker."""
        if importlib.util.find_spec("mlflow") is None:
            raise UserError("trackers: mlflow is not installed; install fakescan[mlflow]")
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            raise UserError(
                "trackers: mlflow has no address; set MLFLOW_TRACKING_URI, such as http://HOST:5000 or "
                "sqlite:////data/mlflow.db"
            )
        scheme = os.environ["MLFLOW_TRACKING_URI"].partition(":")[0].partition("+")[0]
        if scheme in _DATABASES:  # which a client would make at once
            if missing := [name for name in ("sqlalchemy", "alembic") if importlib.util.find_spec(name) is None]:
                raise UserError(f"trackers: mlflow needs {missing[0]} for a database; install fakescan[mlflow]")
            return
        from mlflow.exceptions import MlflowException

        try:
            _client()
        except (MlflowException, ImportError) as error:
            raise UserError(f"trackers: mlflow cannot use MLFLOW_TRACKING_URI: {shortened(str(error))}") from None

    def open(self, run: TrackedRun, known: str | None) -> Opened:
        """See Tracker."""
        self._client = _client()
        last = 0
        if known is None or not self._is_there(known):
            tags = {"mlflow.source.name": "fakescan train", "mlflow.note.content": run.url}
            self._id = self._client.create_run(self._experiment(), run_name=run.name, tags=tags).info.run_id
        else:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            last = max((found.step for found in self._client.get_metric_history(known, _LOSS)), default=0)
        self._log_parameters(run.parameters)
        return Opened(self._id, last, f"{redact(os.environ['MLFLOW_TRACKING_URI'])} run {self._id}")

    def log(self, entries: Sequence[StepMetrics]) -> None:
        """See Tracker."""
        from mlflow.entities import Metric

        metrics = (
            Metric(name, value, int(entry.at * 1000), entry.step)
            for entry in entries
            for name, value in {**entry.scalars, "samples": float(entry.samples or 0)}.items()
        )
        for batch in _batches(metrics, _METRICS_AT_ONCE):
            self._client.log_batch(self._id, metrics=batch)

    def restarted(self, step: int, restarts: int, why: str) -> None:
        """See Tracker."""
        self._client.log_metric(self._id, "train/restarts", restarts, step=step)
        self._client.set_tag(self._id, "last_restart", f"from step {step}: {why}")

    def close(self, ending: Ending, facts: Mapping[str, Any]) -> None:
        """See Tracker."""
        for name, value in {"ending": ending, **facts}.items():
            self._client.set_tag(self._id, name, str(value))
        self._client.set_terminated(self._id, status=_STATUS[ending])

    def _is_there(self, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        if (given := os.environ.get("MLFLOW_EXPERIMENT_ID")) is not None:
            return given
        if (found := self._client.get_experiment_by_name(name)) is None:
            with suppress(MlflowException):  # another run may have made it meanwhile
                return str(self._client.create_experiment(name))
            found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id)

    def _log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Those that are new. One that has changed since the run began, such as max_steps, is a tag."""
        from mlflow.entities import Param

        known = self._client.get_run(self._id).data.params
        values = {name: str(value)[:_VALUE] for name, value in parameters.items()}
        fresh = (Param(name, value) for name, value in values.items() if name not in known)
        for batch in _batches(fresh, _PARAMETERS_AT_ONCE):
            self._client.log_batch(self._id, params=batch)
        for name, value in values.items():
            if known.get(name, value) != value:
                self._client.set_tag(self._id, f"now.{name}", value)


def _client() -> Any:
    for variable, value in _VARIABLES.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    if not logger.isEnabledFor(logging.INFO):
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
