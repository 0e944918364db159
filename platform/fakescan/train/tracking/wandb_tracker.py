"""Weights & Biases: the run as it shows it, online, on a server of one's own, or offline in a folder."""

import importlib.util
import netrc
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking.tracker import PROJECT, Ending, Opened, TrackedRun, Tracker
from fakevlm.errors import UserError

_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
_INIT_S, _FINISH_S = 30.0, 50.0
"""Seconds for W&B to answer at the beginning and to take the rest in the end."""
_EXIT_CODES: Mapping[Ending, int] = {"finished": 0, "failed": 1, "interrupted": 255}


class WandbTracker(Tracker):
    """Set up by W&B's own variables, such as WANDB_API_KEY, WANDB_PROJECT, WANDB_BASE_URL, WANDB_MODE, WANDB_DIR."""

    name: ClassVar[str] = "wandb"

    def __init__(self) -> None:
        self._run: Any = None

    @classmethod
    def check(cls) -> None:
        """See Tracker."""
        if importlib.util.find_spec("wandb") is None:
            raise UserError("trackers: wandb is not installed; install fakescan[wandb]")
        if _mode() == "online" and not any(os.environ.get(name) for name in _KEYS) and not _has_netrc():
            raise UserError(
                "trackers: wandb has no API key; set WANDB_API_KEY, or call wandb login, or set WANDB_MODE=offline"
            )

    def open(self, run: TrackedRun, known: str | None) -> Opened:
        """See Tracker. Offline nobody can be asked for what is there already: the run's own log says it."""
        for variable, value in (("WANDB_ERROR_REPORTING", "false"), ("WANDB_SILENT", "true")):
            os.environ.setdefault(variable, value)
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",  # what a training prints stays here
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_meta=True,  # the command line, which may hold secrets
            x_disable_stats=True,  # of the machine of the command, which is not the one that trains
            init_timeout=_INIT_S,
            finish_timeout=_FINISH_S,  # at the end of the process as well, which else waited for W&B for ever
            finish_timeout_raises=True,
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=known or secrets.token_hex(4),
            resume="allow",
            name=run.name,
            notes=run.url,
            config=dict(run.parameters),
            allow_val_change=True,
            dir=os.environ.get("WANDB_DIR") or run.folder,
            settings=settings,
        )
        is_offline = bool(self._run.settings._offline)
        last = (run.last_step if known else 0) if is_offline else max(int(self._run.step) - 1, 0)
        place = str(Path(self._run.dir).parent) if is_offline else str(self._run.url)
        return Opened(str(self._run.id), last, place)

    def log(self, entries: Sequence[StepMetrics]) -> None:
        """See Tracker."""
        for entry in entries:
            self._run.log({**entry.scalars, "samples": entry.samples}, step=entry.step)

    def restarted(self, step: int, restarts: int, why: str) -> None:
        """See Tracker. In the summary: the history only goes forward."""
        self._run.summary.update({"restarts": restarts, "last_restart": f"from step {step}: {why}"})

    def close(self, ending: Ending, facts: Mapping[str, Any]) -> None:
        """See Tracker."""
        self._run.summary.update({"ending": ending, **facts})
        self._run.finish(exit_code=_EXIT_CODES[ending])


def _mode() -> str:
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return "disabled"
    return os.environ.get("WANDB_MODE") or "online"


def _has_netrc() -> bool:
    """Whether `wandb login` has been called on this machine."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC") or None).authenticators(host) is not None
    return False
