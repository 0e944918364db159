"""Checks of a source and an output before any engine starts: each failure is one line that says what to fix."""

import contextlib
import os
import secrets
from pathlib import Path

from fsspec import AbstractFileSystem

from fakescan.storage.errors import classify, is_transient, root_cause, service_code, store_errors
from fakescan.storage.s3_listing import list_page
from fakescan.storage.store import Store, is_s3
from fakescan.storage.url import file_path, redact, scheme_of, split_bucket
from fakevlm.errors import ErrorCode, UserError

_PROBE = ".fakescan-write-check-"


def check_readable(url: str, store: Store) -> None:
    """Raise `UserError` unless `url` can be listed or read with these settings. An empty prefix passes."""
    scheme = scheme_of(url)
    if scheme == "file":
        _check_local_readable(url)
        return
    filesystem, path = store.filesystem(url, attempts=2)
    try:
        if is_s3(filesystem):
            _check_s3_readable(filesystem, url)
        elif scheme == "http":
            filesystem.cat_file(path, start=0, end=1)
        else:
            filesystem.exists(path)
    except UserError:
        raise
    except store_errors() as error:
        raise UserError(explain("read", url, store, error)) from None


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
    filesystem, path = store.filesystem(url, attempts=2)
    if is_s3(filesystem) and not split_bucket(path)[0]:
        raise UserError(f"{url} names no bucket: write s3://BUCKET/PREFIX")
    probe = f"{path}/{_PROBE}{secrets.token_hex(8)}"
    try:
        if is_s3(filesystem):  # some servers create a missing bucket on the first write; and resuming needs to list
            list_page(filesystem, Bucket=split_bucket(path)[0], MaxKeys=1)
        filesystem.pipe_file(probe, b"fakescan")
    except store_errors() as error:
        raise UserError(explain("write to", url, store, error)) from None
    with contextlib.suppress(PermissionError):  # a policy may allow writing and forbid deleting
        filesystem.rm_file(probe)


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
    filesystem, path = store.filesystem(url, attempts=2)
    bucket, key = split_bucket(path)
    if not bucket:
        raise UserError(f"{url} names no bucket: write s3://BUCKET/PREFIX")
    probe = {"Bucket": bucket, "Key": f"{key}/{_PROBE}{secrets.token_hex(8)}".lstrip("/")}
    try:
        list_page(filesystem, Bucket=bucket, MaxKeys=1)
        upload = filesystem.call_s3("create_multipart_upload", **probe)["UploadId"]
    except store_errors() as error:
        raise UserError(explain("write to", url, store, error)) from None
    with contextlib.suppress(PermissionError):  # a policy may forbid it; the store forgets the upload in the end
        filesystem.call_s3("abort_multipart_upload", **probe, UploadId=upload)


def _check_s3_readable(filesystem: AbstractFileSystem, url: str) -> None:
    bucket, key = split_bucket(url)
    if not bucket:
        raise UserError(f"{url} names no bucket: write s3://BUCKET/PREFIX")
    try:
        list_page(filesystem, Bucket=bucket, Prefix=key, MaxKeys=1)
    except PermissionError as error:
        try:  # a policy may allow reading one object and forbid listing
            filesystem.call_s3("head_object", Bucket=bucket, Key=key or "-")
        except OSError:
            raise error from error.__cause__


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


def explain(action: str, url: str, store: Store, error: Exception) -> str:
    """One line: what failed, why in the user's terms, what to change."""
    start = f"cannot {action} {redact(url)}"
    cause = root_cause(error)
    code, message = classify(error)
    service, kind = service_code(cause), type(cause).__name__
    if kind in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
        return f"{start}: no credentials found; set them, name a profile, or use anonymous access for a public bucket"
    if kind == "ProfileNotFound":
        return f"{start}: there is no AWS profile named {store.profile}"
    if service in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}:
        return f"{start}: wrong or expired credentials ({message})"
    bucket = split_bucket(url)[0]
    if service == "NoSuchBucket" or (code is ErrorCode.NOT_FOUND and scheme_of(url) in {"s3", "gs", "az"}):
        return f"{start}: no such bucket: {bucket}"
    if code is ErrorCode.DENIED:
        return f"{start}: access denied ({message}); check the credentials' permissions"
    if code is ErrorCode.NOT_FOUND:
        return f"{start}: not found ({message})"
    if kind in {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ClientConnectorDNSError"}:
        address = store.endpoint_url if store.endpoint_url and scheme_of(url) != "http" else url
        return f"{start}: cannot reach {redact(address)}; check the address and the network"
    if is_transient(error):
        return f"{start}: the store does not answer properly ({message}); try again later"
    return f"{start}: {message}"
