"""The files that a user names one by one: which may be images, and their bytes, fetched as a scan fetches them."""

import hashlib
import os
import shlex
import stat
import sys
from collections.abc import Sequence

import pyarrow as pa

from fakescan.sources.containers.container_address import Containers, container_of
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.listers.object_entries import entries
from fakescan.sources.listing import local_uri
from fakescan.sources.reading import Reading
from fakescan.storage.errors import classify
from fakescan.storage.store import Store
from fakescan.storage.url import file_path, redact, redact_text, scheme_of, split_bucket
from fakevlm.errors import ErrorCode, UserError, one_line

STDIN = "-"
"""The name of standard input."""


def refuse_folders(names: Sequence[str], store: Store, *, command: str = "check judges") -> None:
    """Raise UserError for what cannot be one image: a folder, a store of an unknown kind, standard input twice.

    `command`: which command it is, and what it does.
    """
    if names.count(STDIN) > 1:
        raise UserError("-: standard input can be read only once")
    for name in names:
        if not name:
            raise UserError("FILE: an empty name is the name of no file")
        if _is_folder(name):
            shown = redact(name)
            raise UserError(
                f"{shown} is a folder, and {command} single images; all that are in it: "
                f"fakescan scan {shlex.quote(shown)} --output RUN"
            )
        if name != STDIN and scheme_of(name) != "file":
            _refuse_unreachable(name, store)


def _is_folder(name: str) -> bool:
    scheme = scheme_of(name)
    if scheme == "file":
        return name != STDIN and os.path.isdir(file_path(name))
    if scheme in ("http", "tar"):
        return False
    return name.endswith("/") or (scheme == "s3" and not split_bucket(name)[1])


def _refuse_unreachable(name: str, store: Store) -> None:
    if name.encode(errors="ignore").decode() != name:
        raise UserError(f"{name}: a URL is UTF-8; write other bytes with percent signs")
    place = container_of(name) or name
    if (scheme := scheme_of(place)) == "tar":
        raise UserError(f"{redact(name)}: a file in a tar is named tar://MEMBER::TAR")
    if scheme in ("file", "http", "s3"):
        return
    try:
        store.filesystem(place)
    except UserError:
        raise
    except Exception as error:  # each kind of store has its own way of refusing what it is not given
        raise UserError(f"{redact(name)}: {scheme}:// cannot be read from: {one_line(error)}") from error


def fetch(names: Sequence[str], fetcher: Fetcher) -> list[tuple[str, Fetched]]:
    """The URI and the bytes of each file, or the reason why there are none; never raises for one file."""
    results = [(redact(name), Fetched()) for name in names]
    tables: list[pa.Table] = []
    places: list[int] = []
    for place, name in enumerate(names):
        found = _read_stdin(fetcher.max_bytes) if name == STDIN else _entry(name, fetcher.store)
        if isinstance(found, Fetched):
            results[place] = results[place][0], found
        else:
            tables.append(found)
            places.append(place)
    if tables:
        rows = pa.concat_tables(tables)
        uris = [redact(uri) for uri in rows["uri"].to_pylist()]
        for place, uri, fetched in zip(places, uris, fetcher.fetch(rows), strict=True):
            results[place] = uri, fetched
    return results


def _read_stdin(max_bytes: int) -> Fetched:
    try:
        data = sys.stdin.buffer.read(max_bytes + 1) if sys.stdin is not None else b""
    except OSError as error:
        code, message = classify(error)
        return Fetched(error_code=code, error_message=f"standard input: {message}")
    if not data:
        return Fetched(num_bytes=0, error_code=ErrorCode.EMPTY, error_message="standard input is empty")
    if len(data) > max_bytes:
        return Fetched(
            error_code=ErrorCode.TOO_LARGE, error_message=f"standard input has more than the limit of {max_bytes} bytes"
        )
    return Fetched(data, hashlib.sha256(data).hexdigest(), len(data))


def _entry(name: str, store: Store) -> pa.Table | Fetched:
    """One row of `ENTRY_SCHEMA`, as a listing would have it."""
    if scheme_of(name) == "file":
        path = file_path(name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # the fetcher says why
            status = None
        if status is not None or container_of(name) is None:
            is_file = status is not None and stat.S_ISREG(status.st_mode)
            return entries([local_uri(path)], [status.st_size if status is not None and is_file else None], [None])
    if container_of(name) is None:
        return entries([name], [None], [None])
    reading = Reading(store, skip_damaged=True)
    try:
        table = Containers(reading).resolve(entries([name], [None], [None]), lambda _: redact(name))
    except UserError as error:
        return Fetched(error_code=ErrorCode.FETCH_FAILED, error_message=redact_text(str(error)))
    if table.num_rows:
        return table
    return Fetched(error_code=ErrorCode.NOT_FOUND, error_message="no such file, or no such member or row in it")
