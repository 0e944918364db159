"""From where a user says a model is to a folder on this machine: a local path, a hub id or an object-storage URL."""

from pathlib import Path
from typing import Any

from fakevlm.checkpoint.cache import cache_folder
from fakevlm.checkpoint.download.hub import HUB_ID, hub_folder
from fakevlm.checkpoint.download.url import url_folder
from fakevlm.checkpoint.progress import Report
from fakevlm.errors import UserError


def resolve(
    location: str,
    *,
    storage_options: dict[str, Any] | None,
    cache_dir: Path | None,
    show: bool = False,
    report: Report | None = None,
) -> Path:
    """The local folder of the model at `location`, downloaded if necessary, with `show` visibly. Raises UserError."""
    if location.startswith("file://"):
        location = location.removeprefix("file://")
    if "://" in location:
        return url_folder(location, storage_options or {}, cache_folder(cache_dir), show=show, report=report)
    folder = Path(location).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise UserError(f"model {location} is a file; a model is a folder with config.json, weights and tokenizer")
    if HUB_ID.fullmatch(location):
        return hub_folder(location, show=show, report=report)
    raise UserError(f"model folder {location} does not exist")


def pinned(location: str, folder: Path) -> str:
    """The location that means the same on every node and later: a hub id with its commit, a local folder in full.

    `folder` is what `resolve` has found there. A URL stays as it is: its files are compared where it is opened.
    """
    if "://" in location:
        return str(folder) if location.startswith("file://") else location
    if folder.parent.name == "snapshots" and not Path(location).expanduser().is_dir():
        return f"{location.partition('@')[0]}@{folder.name}"
    return str(folder)
