"""Objects in any store: written whole or not at all, listed afresh, with patience for a store that is away."""

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fsspec import AbstractFileSystem

from fakescan.storage.errors import classify
from fakescan.storage.local_files import move_local, put_local
from fakescan.storage.s3.listing import list_page, next_page
from fakescan.storage.store import is_local, is_s3, without_retries
from fakescan.storage.url import redact, split_bucket
from fakescan.storage.weather.credentials import renew_clients
from fakescan.storage.weather.faults import Fault, fault_of, is_weather, is_wordless
from fakescan.storage.weather.waits import WAITS
from fakevlm.errors import ErrorCode

T = TypeVar("T")

PATIENCE_S = 1800.0
"""How long `put_atomic`, `list_names` and `read_bytes` outlast a store that is away, in seconds."""

_SINGLE_PUT_BYTES = 5 * 2**30


def patiently(action: Callable[[], T], what: str, *, patience_s: float | None = None, is_ours: bool = False) -> T:
    """The result of `action`, called again after faults of its store with growing, jittered pauses for `patience_s`.

    A job of many hours outlasts a restart of its store, and credentials that expire: those are read again. The last
    error is raised when the store does not come back. Default: `PATIENCE_S`. `is_ours`: it was written by this program,
    so that a refusal without a reason can only be one of the credentials.
    """
    started = time.monotonic()
    deadline = started + (PATIENCE_S if patience_s is None else patience_s)
    pause = 0.25
    answered = False
    try:
        while True:
            try:
                result = action()
                answered = True
                return result
            except Exception as error:  # the stores' libraries share no base class; anything lasting is raised again
                is_refused = is_ours and is_wordless(error)
                passes = is_refused or (is_weather(error) and not is_wordless(error))
                if not passes or time.monotonic() + pause > deadline:
                    raise
                WAITS.waiting(what, classify(error)[1], started)
                if is_refused or fault_of(error) is Fault.CREDENTIALS:
                    renew_clients()
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 10.0)
    finally:
        WAITS.end(what, answered=answered)


def read_bytes(fs: AbstractFileSystem, path: str, *, patience_s: float | None = None) -> bytes:
    """A whole object. `FileNotFoundError` if there is none."""
    if is_local(fs):
        return Path(path).read_bytes()
    data = patiently(lambda: fs.cat_file(path), f"reading {redact(path)}", patience_s=patience_s)
    return bytes(data)


def put_atomic(
    fs: AbstractFileSystem,
    path: str,
    data: bytes,
    *,
    exclusive: bool = False,
    patience_s: float | None = None,
    media_type: str | None = None,
) -> None:
    """Write an object so that readers see all of it or nothing: one PUT; on a local disk temporary file, fsync, rename.

    With `exclusive` it raises `FileExistsError` when the object is already there, and exactly one of several writers
    succeeds (If-None-Match; a hard link on a local disk). `media_type`: what a store that is a web server as well says
    it is.
    """
    if is_local(fs):
        put_local(Path(path), data, exclusive=exclusive)
        return
    # The object may be ours although the store's answer got lost, so an exclusive write retries only here.
    writer = without_retries(fs) if exclusive else fs
    options: dict[str, Any] = {"mode": "create"} if exclusive else {}
    if is_s3(fs):
        options["chunksize"] = _SINGLE_PUT_BYTES
    if media_type is not None:
        options |= _media_type_options(fs, media_type)
    tries = 0

    def put() -> None:
        nonlocal tries
        tries += 1
        try:
            writer.pipe_file(path, data, **options)
        except OSError as error:
            if not exclusive or not (isinstance(error, FileExistsError) or classify(error)[0] is ErrorCode.CHANGED):
                raise
            if tries == 1 or read_bytes(fs, path) != data:
                raise FileExistsError(f"{redact(path)} exists") from None

    patiently(put, f"writing {redact(path)}", patience_s=patience_s)


def put_file(fs: AbstractFileSystem, path: str, source: Path, *, patience_s: float | None = None) -> None:
    """Give up a local file to a store, with the patience of `put_atomic`: readers see all of it or nothing.

    On a local disk it is moved where that can be done, and copied else; the caller deletes what is left of it.
    """
    if is_local(fs):
        move_local(source, Path(path))
        return
    patiently(lambda: fs.put_file(str(source), path), f"writing {redact(path)}", patience_s=patience_s)


def get_file(fs: AbstractFileSystem, path: str, target: Path, *, patience_s: float | None = None) -> None:
    """Copy an object into a local file, with the patience of `read_bytes`. `FileNotFoundError` if there is none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    patiently(lambda: fs.get_file(path, str(target)), f"reading {redact(path)}", patience_s=patience_s)


def _media_type_options(fs: AbstractFileSystem, media_type: str) -> dict[str, Any]:
    """How the client of a store is told a Content-Type."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if is_s3(fs):
        return {"ContentType": media_type}
    if "gs" in protocols:
        return {"content_type": media_type}
    if "az" in protocols:
        return {"content_settings": {"content_type": media_type}}
    return {}


def list_names(fs: AbstractFileSystem, folder: str, *, patience_s: float | None = None) -> list[tuple[str, int]]:
    """Name and size in bytes of every object directly in `folder`, freshly listed and sorted; may be empty."""
    if is_local(fs):
        return _list_local(folder)
    if is_s3(fs):
        return patiently(lambda: _list_s3(fs, folder), f"listing {redact(folder)}", patience_s=patience_s)
    try:
        found = patiently(lambda: fs.ls(folder, detail=True), f"listing {redact(folder)}", patience_s=patience_s)
    except FileNotFoundError:
        return []
    files = (item for item in found if item["type"] == "file")
    return sorted((str(item["name"]).rpartition("/")[2], int(item["size"] or 0)) for item in files)


def _list_local(folder: str) -> list[tuple[str, int]]:
    names: list[tuple[str, int]] = []
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return names
    with entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile, as other writers' temporary files are
                if entry.is_file():
                    names.append((entry.name, entry.stat().st_size))
    return sorted(names)


def _list_s3(fs: AbstractFileSystem, folder: str) -> list[tuple[str, int]]:
    """One listing without s3fs's own bookkeeping, whose cost per name would show at a million parts."""
    bucket, key = split_bucket(folder)
    prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
    names: list[tuple[str, int]] = []
    token: dict[str, str] = {}
    while True:
        page = list_page(fs, Bucket=bucket, Prefix=prefix, Delimiter="/", **token)
        names += [(item["Key"][len(prefix) :], int(item.get("Size", 0))) for item in page.get("Contents", [])]
        following = next_page(page)
        if following is None:
            return sorted(entry for entry in names if entry[0])
        token = following
