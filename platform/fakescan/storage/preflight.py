"""Checks of a source and an output before any engine starts: each failure is one line that says what to fix.

No check of a store takes longer than `ANSWER_S` seconds, whatever its name, its server and the client's retries do.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem, sync

from fakescan.storage.errors import classify, store_errors
from fakescan.storage.explanation import explain, foreign
from fakescan.storage.s3.listing import list_page
from fakescan.storage.store import Store, is_s3
from fakescan.storage.url import file_path, redact, scheme_of, split_bucket
from fakevlm.errors import ImageError, UserError
from fakevlm.remote import ANSWER_S, within

T = TypeVar("T")

_PROBE = ".fakescan-write-check-"
_KNOWN = frozenset({"file", "memory", "s3", "gs", "az", "http"})
_BEGINNING = 512
_PAGES = (b"<!doctype html", b"<html", b"<!--")


def check_readable(url: str, store: Store) -> None:
    """Raise `UserError` unless `url` can be listed or read with these settings. An empty prefix passes."""
    scheme = scheme_of(url)
    if scheme == "file":
        _check_local_readable(url)
        return

    def check() -> None:
        filesystem, path = store.filesystem(url, attempts=2)
        if is_s3(filesystem):
            _check_s3_readable(filesystem, url, store)
        elif scheme == "http":
            sync(filesystem.loop, _first_bytes, filesystem, path)
        elif isinstance(filesystem, AsyncFileSystem):
            filesystem.exists(path)
        else:  # whose `exists` takes every error for a no
            with contextlib.suppress(FileNotFoundError):
                filesystem.info(path)

    _explained("read", url, store, check)


def exists(url: str, store: Store) -> bool:
    """Whether there is an object or a folder of exactly this name. Raises `UserError` as `check_readable` does."""

    def ask() -> bool:
        filesystem, path = store.filesystem(url)
        return bool(filesystem.exists(path))

    return ask() if scheme_of(url) == "file" else _explained("read", url, store, ask)


def check_writable(url: str, store: Store) -> None:
    """Raise `UserError` unless objects can be written below `url`; proves it by writing a small one and deleting it.

    A local folder is created.
    """
    scheme = scheme_of(url)
    if scheme == "http":
        raise UserError(f"cannot write to {redact(url)}: web addresses are read-only, name a folder or a bucket")
    if scheme == "file":
        _check_local_writable(Path(file_path(url)))
        return

    def check() -> None:
        filesystem, path = store.filesystem(url, attempts=2)
        if is_s3(filesystem):  # some servers create a missing bucket on the first write; and resuming needs to list
            _list_one(filesystem, url, store, Bucket=_bucket(url))
        probe = f"{path}/{_PROBE}{secrets.token_hex(8)}"
        filesystem.pipe_file(probe, b"fakescan")
        with contextlib.suppress(PermissionError):  # a policy may allow writing and forbid deleting
            filesystem.rm_file(probe)

    _explained("write to", url, store, check)


def check_writable_without_trace(url: str, store: Store) -> None:
    """As `check_writable`, and nothing is left: neither a local folder that was not there, nor a version of an object.

    On S3 an upload in parts is begun and called off, which takes the permission to write. Elsewhere a small object is
    written and deleted.
    """
    scheme = scheme_of(url)
    if scheme == "file":
        folder = Path(file_path(url))
        missing = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
        try:
            _check_local_writable(folder)
        finally:
            for place in missing:  # the deepest first; one that somebody else has begun to use stays
                with contextlib.suppress(OSError):
                    place.rmdir()
        return
    if scheme != "s3":
        check_writable(url, store)
        return

    def check() -> None:
        filesystem, path = store.filesystem(url, attempts=2)
        _list_one(filesystem, url, store, Bucket=_bucket(url))
        bucket, key = split_bucket(path)
        probe = {"Bucket": bucket, "Key": f"{key}/{_PROBE}{secrets.token_hex(8)}".lstrip("/")}
        upload = filesystem.call_s3("create_multipart_upload", **probe)["UploadId"]
        with contextlib.suppress(PermissionError):  # a policy may forbid it; the store forgets the upload in the end
            filesystem.call_s3("abort_multipart_upload", **probe, UploadId=upload)

    _explained("write to", url, store, check)


def _explained(action: str, url: str, store: Store, call: Callable[[], T]) -> T:
    """The result of a call to a store. Raises `UserError` for its errors and for an answer that does not come."""
    try:
        return within(ANSWER_S, call)
    except UserError:
        raise
    except ImageError as error:
        raise UserError(f"cannot {action} {redact(url)}: {error.message}") from None
    except Exception as error:
        if scheme_of(url) in _KNOWN and not isinstance(error, store_errors()):
            raise
        # The clients of stores that this project does not know raise what they like.
        raise UserError(explain(action, url, store, error)) from None


def _bucket(url: str) -> str:
    bucket, _ = split_bucket(url)
    if not bucket:
        raise UserError(f"{url} names no bucket: write s3://BUCKET/PREFIX")
    return bucket


def _check_s3_readable(filesystem: AbstractFileSystem, url: str, store: Store) -> None:
    bucket, key = _bucket(url), split_bucket(url)[1]
    try:
        _list_one(filesystem, url, store, Bucket=bucket, Prefix=key)
    except PermissionError as error:
        try:  # a policy may allow reading one object and forbid listing
            filesystem.call_s3("head_object", Bucket=bucket, Key=key or "-")
        except OSError:
            raise error from error.__cause__


def _list_one(filesystem: AbstractFileSystem, url: str, store: Store, **arguments: str) -> None:
    answer = list_page(filesystem, MaxKeys=1, **arguments)
    if not answer.keys() & {"Name", "Contents", "IsTruncated", "KeyCount"}:  # a tidy web page is XML too
        raise UserError(f"cannot use {redact(url)}: {foreign(url, store)}")


async def _first_bytes(filesystem: Any, address: str) -> None:
    """Reads the beginning of what is at a web address, and no more of it where the server knows no ranges."""
    session = await filesystem.set_session()
    async with session.get(filesystem.encode_url(address), headers={"Range": f"bytes=0-{_BEGINNING - 1}"}) as answer:
        if answer.status == 404:
            raise FileNotFoundError(errno.ENOENT, "there is nothing at this address")
        answer.raise_for_status()
        if (await answer.content.readany())[:_BEGINNING].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
            raise UserError(f"cannot read {redact(address)}: what answers is a web page, perhaps of a login")


def _check_local_readable(url: str) -> None:
    path = Path(file_path(url))
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                next(entries, None)
        else:
            with path.open("rb"):
                pass
    except FileNotFoundError:
        raise UserError(f"cannot read {path}: there is no such file or folder") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {classify(error)[1]}") from None


def _check_local_writable(folder: Path) -> None:
    probe = folder / f"{_PROBE}{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"fakescan")
        probe.unlink()
    except FileExistsError:
        raise UserError(f"cannot write to {folder}: a file is in the place of the folder") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {classify(error)[1]}") from None
