"""What a tracker shows as the parameters of a run: its settings, its data, its code."""

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakevlm
from fakescan.storage.url import redact
from fakescan.train.config import TrainConfig

_STORES = ("data_store", "model_store", "storage_store")
_ADDRESSES = ("model", "data", "storage_path")
_NOT_OF_THE_RUN = ("bad_images", "trackers")


def parameters(config: TrainConfig, facts: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Settings, their parts joined with points, and `facts` as `TrainFolder.claim` is told them.

    Credentials and endpoints are left out, addresses are without secrets, lists are their lengths.
    """
    settings = config.model_dump(mode="json", exclude={*_STORES, *_NOT_OF_THE_RUN})
    settings |= {name: redact(settings[name]) for name in _ADDRESSES}
    settings |= {name: value for name, value in facts.items() if name not in _NOT_OF_THE_RUN}
    settings |= {"fakescan_version": fakevlm.__version__, "fakescan_commit": commit()}
    return _flat(settings, "")


def commit() -> str | None:
    """The commit of the code where it runs from a checkout, with `-dirty` where that was changed; else None."""
    root = Path(fakevlm.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    return None


def _flat(settings: Mapping[str, Any], prefix: str) -> dict[str, str | int | float | bool]:
    flat: dict[str, str | int | float | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{name}"] = len(value)
        elif value is not None:
            flat[f"{prefix}{name}"] = value
    return flat
