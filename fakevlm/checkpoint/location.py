"""From where a user says a model is to a folder on this machine: a local path, a hub id or an object-storage URL."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakevlm.errors import UserError, one_line, remote_errors

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w./-]+)?")
_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model")


def cache_folder(cache_dir: Path | None = None) -> Path:
    """The folder for what can be made again: `cache_dir`, else FAKEVLM_CACHE, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    if own := os.environ.get("FAKEVLM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fakevlm"


def build_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """`folder`, after `build(partial folder)` has filled it if it did not exist.

    The folder appears under its name only when it is complete, so that a killed build is not mistaken for a finished
    one. Processes that want the same folder wait for the first. What a killed build left is handed to the next.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system frees it when the process dies
            if not folder.is_dir():
                partial.mkdir(exist_ok=True)
                build(partial)
                partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {folder.parent}: {one_line(error)}; set FAKEVLM_CACHE"
        ) from None
    return folder


def resolve(location: str, *, storage_options: dict[str, Any] | None, cache_dir: Path | None) -> Path:
    """The local folder of the model at `location`, downloaded if necessary. Raises UserError."""
    if location.startswith("file://"):
        location = location.removeprefix("file://")
    if "://" in location:
        return _download(location, storage_options or {}, cache_folder(cache_dir))
    folder = Path(location).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise UserError(f"model {location} is a file; a model is a folder with config.json, weights and tokenizer")
    if _HUB_ID.fullmatch(location):
        return _from_hub(location)
    raise UserError(f"model folder {location} does not exist")


def _from_hub(location: str) -> Path:
    """The snapshot of a hub id, `owner/name` or `owner/name@revision`, in the hub's own cache."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, _, revision = location.partition("@")
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=list(_WANTED),
                ignore_patterns="*/*",  # folders hold other formats, or checkpoints of the training
            )
        )
    except GatedRepoError:
        raise UserError(f"model {name} is gated: accept its terms on the hub and set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise UserError(f"model {name} has no revision {revision}") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"model {location} is neither a folder here nor a model on the hub (or HF_TOKEN is needed)"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise UserError(
            f"model {location} is not a folder here, and the hub cannot be reached to download it "
            f"({type(error).__name__}); give a local folder or an object-storage URL"
        ) from None


def _download(url: str, storage_options: dict[str, Any], cache: Path) -> Path:
    """The local copy of the model folder at an fsspec URL; a changed object makes a new copy."""
    import fsspec

    shown, _, query = url.partition("?")

    def reason(error: Exception) -> str:
        return one_line(error).replace(query, "...") if query else one_line(error)  # it may be a signature

    try:
        filesystem, root = fsspec.core.url_to_fs(url, **storage_options)
        filesystem.invalidate_cache()
        entries = [entry for entry in filesystem.ls(root, detail=True) if entry["type"] == "file"]
    except FileNotFoundError:
        raise UserError(f"model {shown} does not exist") from None
    except ImportError as error:
        raise UserError(f"model {shown}: {reason(error)}") from None
    except remote_errors() as error:
        raise UserError(f"model {shown} cannot be read: {reason(error)}") from None
    named = {str(entry["name"]).rsplit("/", 1)[-1]: entry for entry in entries}
    wanted = {name: named[name] for name in sorted(named) if any(Path(name).match(pattern) for pattern in _WANTED)}
    if "config.json" not in wanted:
        raise UserError(f"model {shown} lacks config.json")
    state = [[name, entry["size"], _version(entry)] for name, entry in wanted.items()]
    key = hashlib.sha256(json.dumps([shown, state]).encode()).hexdigest()[:16]

    def build(partial: Path) -> None:
        for name, entry in wanted.items():
            target, part = partial / name, partial / f"{name}.part"
            if target.exists():
                continue
            try:
                filesystem.get_file(entry["name"], str(part))
            except remote_errors() as error:
                raise UserError(f"model {shown}: {name} cannot be downloaded: {reason(error)}") from None
            if entry["size"] is not None and part.stat().st_size != entry["size"]:
                raise UserError(
                    f"model {shown}: {name} came with {part.stat().st_size} of {entry['size']} bytes; try again"
                )
            part.rename(target)

    return build_once(cache / "models" / f"{root.rstrip('/').rsplit('/', 1)[-1]}-{key}", build)


def _version(entry: dict[str, Any]) -> str:
    """What tells two versions of an object apart in a listing, across fsspec's filesystems."""
    fields = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "updated", "created")
    return next((str(entry[field]) for field in fields if entry.get(field) is not None), "")
