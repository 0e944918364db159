"""Replaces an object only if nobody else has meanwhile: of several writers that saw one version, exactly one succeeds.

A local disk does it under a lock, S3 by `If-Match` on the etag. A store that can do neither (other clouds, and servers
that answer `If-Match` with "not implemented") gets the weaker way: compare, write, wait, and look whose object stayed.
There two writers may both think for `SETTLE_S` that they have succeeded; then one of them knows better.
"""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from fakescan.storage.errors import classify, http_status, root_cause, service_code
from fakescan.storage.objects import put_atomic
from fakescan.storage.store import is_local, is_s3, without_retries
from fakescan.storage.url import redact, split_bucket
from fakevlm.errors import ErrorCode

ANSWER_S = 60.0
"""Seconds that one request may take."""
SETTLE_S = 1.0
"""Seconds after which a store without conditions is asked whose object stayed."""
_LOCK_S = 10.0
"""Seconds that a local lock is waited for; it is held for one read and one write."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_NO_CONDITIONS = frozenset({"NotImplemented", "501"})


class ReplacedError(Exception):
    """The object is not the version that was seen: it was replaced or removed."""


class Versioned(NamedTuple):
    """An object as it was read."""

    data: bytes
    version: str
    """Another one for every other content."""


def read_version(fs: AbstractFileSystem, path: str, *, answer_s: float = ANSWER_S) -> Versioned | None:
    """The object and its version; None if there is none. Raises the store's own errors, at once."""
    try:
        if is_s3(fs):
            return Versioned(*sync(fs.loop, _get_s3, without_retries(fs), path, timeout=answer_s))
        data = Path(path).read_bytes() if is_local(fs) else bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None
    except Exception as error:  # the stores' libraries share no base class
        if classify(error)[0] is not ErrorCode.NOT_FOUND or isinstance(error, NotADirectoryError):
            raise
        return None
    return Versioned(data, _version_of(data))


def replace(fs: AbstractFileSystem, path: str, data: bytes, version: str, *, answer_s: float = ANSWER_S) -> str:
    """Write `data` in place of the version that was seen; returns the new version.

    Raises `ReplacedError` when the object is another one by now, and the store's own errors at once: after one of them
    the object may be written or not.
    """
    if is_local(fs):
        with _locked(Path(path)):
            _compare(Path(path).read_bytes, version, path)
            put_atomic(fs, path, data)
        return _version_of(data)
    if is_s3(fs):
        try:
            return str(sync(fs.loop, _put_s3, without_retries(fs), path, data, version, timeout=answer_s))
        except Exception as error:  # the stores' libraries share no base class
            if _names_no_conditions(error):
                return _replace_weakly(fs, path, data, version)
            if classify(error)[0] not in (ErrorCode.CHANGED, ErrorCode.NOT_FOUND):
                raise
        raise ReplacedError(f"{redact(path)} was replaced")
    return _replace_weakly(fs, path, data, version)


def remove(fs: AbstractFileSystem, path: str, is_ours: Callable[[bytes], bool]) -> None:
    """Remove the object if it is there and ours by its content, which on a local disk nobody can change meanwhile."""
    if is_local(fs):
        with _locked(Path(path)):
            try:
                ours = is_ours(Path(path).read_bytes())
            except FileNotFoundError:
                return
            if ours:
                Path(path).unlink(missing_ok=True)
        return
    seen = read_version(fs, path)
    if seen is not None and is_ours(seen.data):
        fs.rm_file(path)


def _replace_weakly(fs: AbstractFileSystem, path: str, data: bytes, version: str) -> str:
    seen = read_version(fs, path)
    if seen is None or seen.version != version:
        raise ReplacedError(f"{redact(path)} was replaced")
    put_atomic(fs, path, data)
    time.sleep(SETTLE_S)
    stayed = read_version(fs, path)
    if stayed is None or stayed.data != data:
        raise ReplacedError(f"{redact(path)} was replaced")
    return stayed.version


def _compare(read: Callable[[], bytes], version: str, path: str) -> None:
    try:
        unchanged = _version_of(read()) == version
    except FileNotFoundError:
        unchanged = False
    if not unchanged:
        raise ReplacedError(f"{redact(path)} was replaced")


def _version_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _names_no_conditions(error: BaseException) -> bool:
    cause = root_cause(error)
    return service_code(cause) in _NO_CONDITIONS or http_status(cause) == 501


async def _get_s3(fs: Any, path: str) -> tuple[bytes, str]:
    bucket, key = split_bucket(path)
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        return await body.read(), answer["ETag"]


async def _put_s3(fs: Any, path: str, data: bytes, version: str) -> str:
    bucket, key = split_bucket(path)
    answer = await fs._call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfMatch=version)
    return str(answer["ETag"])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone with a local file, among the processes of all machines that share the disk, where it has locks."""
    lock = path.parent / f".{path.name}.lock"
    deadline = time.monotonic() + _LOCK_S
    while True:
        with lock.open("ab") as file:
            if _has_lock(file.fileno()):
                if _is_file(lock, file.fileno()):
                    try:
                        yield
                    finally:
                        lock.unlink(missing_ok=True)
                    return
                continue  # its last holder removed it
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} is locked by another process")
        time.sleep(0.01)


def _has_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees it when the process dies
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_file(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
