"""The services that a run can be tracked by, by their names in the settings."""

from collections.abc import Sequence

from fakescan.train.tracking.mlflow_tracker import MlflowTracker
from fakescan.train.tracking.tracker import Tracker
from fakescan.train.tracking.wandb_tracker import WandbTracker

_TRACKERS: dict[str, type[Tracker]] = {kind.name: kind for kind in (WandbTracker, MlflowTracker)}


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError, one line, where one of them lacks its package, a key or an address."""
    for name in names:
        _TRACKERS[name].check()


def trackers_of(names: Sequence[str]) -> list[Tracker]:
    """The trackers of these names, each once."""
    return [_TRACKERS[name]() for name in dict.fromkeys(names)]
