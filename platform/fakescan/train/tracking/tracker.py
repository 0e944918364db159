"""A service that keeps the runs of trainings, as this project speaks to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from fakescan.train.metrics_actor import StepMetrics

PROJECT = "fakescan"
"""Name of the project, or experiment, that runs belong to unless the service's own variables name another one."""

Ending = Literal["finished", "failed", "interrupted"]


@dataclass(frozen=True)
class TrackedRun:
    """What a service is told of a run when it begins, or goes on."""

    name: str
    url: str
    """Address of the run's folder, without secrets."""
    parameters: Mapping[str, Any]
    """Settings and facts: numbers, words and truth values."""
    folder: str | None
    """The run's folder where it is on this machine."""
    last_step: int
    """Last step in the run's own log as this start began; 0 where it is new."""


class Opened(NamedTuple):
    """A run as the service knows it."""

    id: str
    """By which the next start goes on with it."""
    last_step: int
    """Steps up to this one are there already."""
    place: str
    """Where a person sees it."""


class Tracker(ABC):
    """One service. All methods are called on one thread of its own, and may take long and raise anything."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def check(cls) -> None:
        """Raise UserError, one line, for what only the user can change: a missing package or key. Sends nothing."""

    @abstractmethod
    def open(self, run: TrackedRun, known: str | None) -> Opened:
        """Begin the run, or go on with the one of the id `known`; a new one where that is gone."""

    @abstractmethod
    def log(self, entries: Sequence[StepMetrics]) -> None:
        """Add steps, each after the ones before."""

    @abstractmethod
    def restarted(self, step: int, restarts: int, why: str) -> None:
        """The workers were started again for the `restarts`th time, and go on after `step`."""

    @abstractmethod
    def close(self, ending: Ending, facts: Mapping[str, Any]) -> None:
        """The run has ended, with what is known of it now."""
