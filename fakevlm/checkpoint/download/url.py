"""Models in object stores and on web servers: a folder behind an fsspec URL, copied into the cache."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.cache import build_once
from fakevlm.checkpoint.download.hub import is_wanted
from fakevlm.checkpoint.download.store_files import is_web, remote_files
from fakevlm.checkpoint.download.transfer import DownloadError, WrongFileError, download
from fakevlm.checkpoint.progress import Report, Step
from fakevlm.errors import UserError, remote_errors
from fakevlm.remote import ANSWER_S, missing_package, quiet_clients, reason, within

_WHO = re.compile(r"^((?:https?|ftp|sftp)://)[^/]*@")
"""The user and the password in an address."""


def url_folder(
    url: str, storage_options: dict[str, Any], cache: Path, *, show: bool, report: Report | None = None
) -> Path:
    """The local copy of the model folder at an fsspec URL; a changed object makes a new copy.

    With `show` its download is visible on stderr, and `report` hears of it; one that breaks off goes on where it
    stopped. Raises UserError.
    """
    address, _, query = url.partition("?")
    shown = _WHO.sub("\\1", address)

    def why(error: Exception) -> str:
        return reason(error).replace(query, "...") if query else reason(error)  # it may be a signature

    def unreadable(error: Exception) -> UserError:
        return UserError(f"model {shown} cannot be read: {why(error)}; check the address, the network and the options")

    quiet_clients(url.partition("://")[0])
    try:
        filesystem, root, entries = within(ANSWER_S, lambda: _list(url, storage_options))
    except FileNotFoundError:
        raise UserError(f"model {shown} does not exist") from None
    except ImportError as error:
        raise UserError(f"model {shown}: {missing_package(url.partition('://')[0], error)}") from None
    except _faults() as error:
        raise unreadable(error) from None
    named = {str(entry["name"]).rsplit("/", 1)[-1]: entry for entry in entries}
    wanted = {name: named[name] for name in sorted(named) if is_wanted(name)}
    if "config.json" not in wanted:
        page = " in what the web server lists (a login page lists none)" if is_web(filesystem) else ""
        raise UserError(f"model {shown} lacks config.json{page}")
    state = [[name, entry["size"], _version(entry)] for name, entry in wanted.items()]
    key = hashlib.sha256(json.dumps([address, state]).encode()).hexdigest()[:16]

    def wait() -> None:
        if report is not None:
            report(Step(f"waiting for another process that downloads {shown}"))

    def build(partial: Path) -> None:
        missing = {name: entry for name, entry in wanted.items() if not (partial / name).exists()}
        try:
            files = within(ANSWER_S, lambda: remote_files(filesystem, missing, partial))
        except _faults() as error:
            raise unreadable(error) from None
        try:
            download(f"downloading {shown}", files, show=show, may_pass=_may_pass, silence_s=ANSWER_S, report=report)
        except DownloadError as error:
            kept = "; the same command goes on where this one stopped" if error.received else ""
            raise UserError(f"model {shown}: {error.name} cannot be downloaded: {why(error.cause)}{kept}") from None
        for stale in partial.glob("*.part"):
            stale.unlink()

    return build_once(cache / "models" / f"{root.rstrip('/').rsplit('/', 1)[-1]}-{key}", build, wait)


def _faults() -> tuple[type[Exception], ...]:
    """What clients raise; TypeError those that need more than an address."""
    return *remote_errors(), TypeError, WrongFileError


def _list(url: str, storage_options: dict[str, Any]) -> tuple[Any, str, list[dict[str, Any]]]:
    """The file system, the path in it, and the files there."""
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(url, **storage_options)
    filesystem.invalidate_cache()
    return filesystem, root, [entry for entry in filesystem.ls(root, detail=True) if entry["type"] == "file"]


def _version(entry: dict[str, Any]) -> str:
    """What tells two versions of an object apart in a listing, across fsspec's filesystems."""
    fields = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "updated", "created")
    return next((str(entry[field]) for field in fields if entry.get(field) is not None), "")


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | WrongFileError):
        return False
    status = getattr(error, "status", getattr(error, "status_code", None))
    return not (isinstance(status, int) and 400 <= status < 500 and status not in (408, 429))
