"""One way to reach every store: local folders, S3, Google Cloud Storage, Azure and the web, each with its settings."""

import logging
import os
import random
import re
import secrets
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.registry import known_implementations
from pydantic import BaseModel, ConfigDict, Field, JsonValue, Secret, field_serializer

from fakescan.failure import classify, is_transient, redact, redact_text
from fakevlm.errors import UserError

__all__ = [
    "Store",
    "classify",
    "file_path",
    "is_transient",
    "list_names",
    "patiently",
    "put_atomic",
    "read_bytes",
    "redact",
    "redact_text",
    "scheme_of",
    "split_bucket",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 120.0
"""How long `put_atomic`, `list_names` and `read_bytes` outlast a store that is away, in seconds."""

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az", "https": "http", "local": "file"}
_HIDDEN = "**********"
_SINGLE_PUT_BYTES = 5 * 2**30

_instances: dict[tuple[object, ...], AbstractFileSystem] = {}
_instances_lock = threading.Lock()


class Store(BaseModel):
    """Where and as whom objects are read or written. One scan may use two: one for its input, one for its output.

    Settings apply to the schemes they mean something for; local paths and plain web addresses need none of them. It
    pickles with its secrets, to reach worker processes; `repr`, `str` and JSON never show them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint_url: str | None = Field(
        default=None, description="Address of an S3 or GCS compatible server, unless the cloud's."
    )
    profile: str | None = Field(default=None, description="Named profile in the AWS configuration files.")
    region: str | None = Field(default=None, description="Region of the bucket, for S3.")
    anon: bool = Field(default=False, description="Send unsigned requests, for public buckets.")
    options: dict[str, Secret[JsonValue]] = Field(
        default_factory=dict,
        description="Further fsspec options such as key and secret; a value env:NAME is read from the environment.",
    )

    @field_serializer("options")
    def _hide(self, options: dict[str, Secret[JsonValue]]) -> dict[str, JsonValue]:
        """`env:NAME` says where the secret is and may be stored; anything else may be the secret."""
        plain = {name: secret.get_secret_value() for name, secret in options.items()}
        return {name: value if _is_reference(value) else _HIDDEN for name, value in plain.items()}

    def resolved(self) -> "Store":
        """The store with every `env:NAME` replaced by the variable's value, to be sent to worker processes.

        Raises `UserError` when a variable is not set.
        """
        plain = {name: secret.get_secret_value() for name, secret in self.options.items()}
        values = {name: _resolve(name, value) for name, value in plain.items()}
        return self if values == plain else Store.model_validate({**self._plain(), "options": values})

    @cached_property
    def identity(self) -> str:
        """Equal for equal settings. Holds the secrets: a key for caches, never shown."""
        return repr(self._plain())

    def fsspec_options(self, url: str) -> dict[str, Any]:
        """Keyword arguments for fsspec's file system of `url`, for code that makes its own; they hold secrets."""
        return _constructor_options(self.resolved(), scheme_of(url), 5)

    def _plain(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.endpoint_url,
            "profile": self.profile,
            "region": self.region,
            "anon": self.anon,
            "options": {name: secret.get_secret_value() for name, secret in self.options.items()},
        }

    def filesystem(self, url: str, *, attempts: int = 5) -> tuple[AbstractFileSystem, str]:
        """The fsspec file system for `url` and the path in it. Instances are shared by the threads of a process.

        Listings are never cached. `attempts` bounds how often one request is sent before its error is raised. Raises
        `UserError` for a scheme nobody knows or whose package is not installed.
        """
        scheme = scheme_of(url)
        key = (os.getpid(), scheme, attempts, self.identity)
        with _instances_lock:
            if key not in _instances:
                _instances[key] = make_filesystem(self, scheme, attempts=attempts)
            filesystem = _instances[key]
        return filesystem, path_in(filesystem, url)


def scheme_of(url: str) -> str:
    """The scheme in one spelling: `file` (also for none), `s3`, `gs`, `az`, `http` (also for https), `memory`, …."""
    match = _SCHEME.match(url)
    scheme = match.group(1).lower() if match else "file"
    return _ALIASES.get(scheme, scheme)


def file_path(url: str) -> str:
    """The absolute path of a local URL. `file://` URLs are percent-decoded (RFC 8089), plain paths are taken as is."""
    if url.lower().startswith("file://"):
        escaped = url.replace("?", "%3F").replace("#", "%23")
        return os.path.abspath(unquote(urlsplit(escaped).path, errors="surrogateescape"))
    if url.lower().startswith("local://"):
        url = url[len("local://") :]
    return os.path.abspath(os.path.expanduser(url))


def split_bucket(path: str) -> tuple[str, str]:
    """Bucket and key of an S3 URL or path. Keys are literal: `?`, `#`, `%` and a trailing `/` belong to them."""
    path = _SCHEME.sub("", path)
    bucket, _, key = path.partition("/")
    if bucket.startswith("arn:"):  # arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/KEY
        name, _, key = key.partition("/")
        bucket = f"{bucket}/{name}"
    return bucket, key


def path_in(filesystem: AbstractFileSystem, url: str) -> str:
    """The path under which `filesystem` knows `url`, without a trailing slash."""
    if scheme_of(url) == "file":
        return file_path(url)
    return str(filesystem._strip_protocol(url))


def make_filesystem(store: Store, scheme: str, *, attempts: int, **extra: Any) -> AbstractFileSystem:
    """A new fsspec file system; `extra` goes to its constructor.

    Keep a synchronous one for the life of the process: s3fs closes its session on whichever event loop happens to run
    where the garbage collector finds it.
    """
    if scheme not in known_implementations:
        raise UserError(f"unknown scheme {scheme}:// (known: a local path, s3://, gs://, az://, https://)")
    try:
        kind = get_filesystem_class(scheme)
    except ImportError as error:
        raise UserError(f"{scheme}:// needs a package that is not installed: {error}") from None
    options = _constructor_options(store.resolved(), scheme, attempts)
    return kind(**{**options, **extra}, skip_instance_cache=True, use_listings_cache=False)


def _constructor_options(store: Store, scheme: str, attempts: int) -> dict[str, Any]:
    """The keyword arguments of the file system's class that say what `store` says."""
    options: dict[str, Any] = {name: secret.get_secret_value() for name, secret in store.options.items()}
    if scheme == "file" or scheme == "memory":
        return {}
    if scheme == "http":
        headers = options.get("headers")
        return {"client_kwargs": {"headers": headers}} if headers else {}
    if scheme == "gs":
        if store.endpoint_url:
            options.setdefault("endpoint_url", store.endpoint_url)
        if store.anon:
            options.setdefault("token", "anon")
        return options
    if scheme == "az":
        if store.anon:
            options.setdefault("anon", True)
        return options
    if scheme != "s3":
        return options
    config = {
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "connect_timeout": 10,
        "read_timeout": 60,
        # Checksums in trailers are refused by older S3-compatible servers, and cost CPU for every image.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        **options.pop("config_kwargs", {}),
    }
    client = dict(options.pop("client_kwargs", {}))
    if store.region:
        client.setdefault("region_name", store.region)
    if store.endpoint_url:
        options.setdefault("endpoint_url", store.endpoint_url)
    if store.profile:
        options.setdefault("profile", store.profile)
    return {**options, "anon": store.anon, "config_kwargs": config, "client_kwargs": client}


def patiently(action: Callable[[], T], what: str, *, patience_s: float = PATIENCE_S) -> T:
    """The result of `action`, called again after transient errors with growing, jittered pauses for `patience_s`.

    A job of many hours outlasts a restart of its store; the last error is raised when it does not come back.
    """
    deadline = time.monotonic() + patience_s
    pause = 0.25
    while True:
        try:
            return action()
        except Exception as error:  # the stores' libraries share no base class; anything lasting is raised again
            if not is_transient(error) or time.monotonic() + pause > deadline:
                raise
            logger.warning("%s failed, trying again: %s", what, classify(error)[1])
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, 10.0)


def read_bytes(fs: AbstractFileSystem, path: str) -> bytes:
    """A whole object. `FileNotFoundError` if there is none."""
    if is_local(fs):
        return Path(path).read_bytes()
    data = patiently(lambda: fs.cat_file(path), f"reading {redact(path)}")
    return bytes(data)


def put_atomic(fs: AbstractFileSystem, path: str, data: bytes, *, exclusive: bool = False) -> None:
    """Write an object so that readers see all of it or nothing: one PUT; on a local disk temporary file, fsync, rename.

    With `exclusive` it raises `FileExistsError` when the object is already there, and exactly one of several writers
    succeeds (If-None-Match; a hard link on a local disk).
    """
    if is_local(fs):
        _put_local(Path(path), data, exclusive=exclusive)
        return
    # The object may be ours although the store's answer got lost, so an exclusive write retries only here.
    writer = _single_attempt(fs) if exclusive else fs
    options: dict[str, Any] = {"mode": "create"} if exclusive else {}
    if is_s3(fs):
        options["chunksize"] = _SINGLE_PUT_BYTES
    tries = 0

    def put() -> None:
        nonlocal tries
        tries += 1
        try:
            writer.pipe_file(path, data, **options)
        except FileExistsError:
            if tries == 1 or read_bytes(fs, path) != data:
                raise
        except OSError as error:
            if exclusive and (_status_412(error) or _status_412(error.__cause__)):
                if tries > 1 and read_bytes(fs, path) == data:
                    return
                raise FileExistsError(f"{redact(path)} exists") from None
            raise

    patiently(put, f"writing {redact(path)}")


def list_names(fs: AbstractFileSystem, folder: str) -> list[tuple[str, int]]:
    """Name and size in bytes of every object directly in `folder`, freshly listed and sorted; may be empty."""
    if is_local(fs):
        try:
            with os.scandir(folder) as entries:
                return sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []
    if is_s3(fs):
        return patiently(lambda: _list_s3(fs, folder), f"listing {redact(folder)}")
    try:
        found = patiently(lambda: fs.ls(folder, detail=True), f"listing {redact(folder)}")
    except FileNotFoundError:
        return []
    files = (item for item in found if item["type"] == "file")
    return sorted((str(item["name"]).rpartition("/")[2], int(item["size"] or 0)) for item in files)


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether the file system is this machine's own."""
    return "file" in _protocols(fs)


def is_s3(fs: AbstractFileSystem) -> bool:
    """Whether the file system speaks S3 through s3fs."""
    return "s3" in _protocols(fs)


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _list_s3(fs: AbstractFileSystem, folder: str) -> list[tuple[str, int]]:
    """One listing without s3fs's own bookkeeping, whose cost per name would show at a million parts."""
    bucket, key = split_bucket(folder)
    prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
    names: list[tuple[str, int]] = []
    token: dict[str, str] = {}
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **token)
        names += [(item["Key"][len(prefix) :], int(item["Size"])) for item in page.get("Contents", [])]
        if not page.get("IsTruncated"):
            return sorted(entry for entry in names if entry[0])
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _put_local(path: Path, data: bytes, *, exclusive: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)  # fails if the name is taken, unlike a rename
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name survives a power cut, not only the contents
    finally:
        os.close(folder)


def _single_attempt(fs: AbstractFileSystem) -> AbstractFileSystem:
    """The same S3 file system without retries of its own; others are returned as they are."""
    if not is_s3(fs):
        return fs
    key = (os.getpid(), "single attempt", repr(fs.storage_options))
    with _instances_lock:
        if key not in _instances:
            config = {**fs.config_kwargs, "retries": {"mode": "standard", "total_max_attempts": 1}}
            single = type(fs)(**{**fs.storage_options, "config_kwargs": config, "skip_instance_cache": True})
            single.retries = 1
            _instances[key] = single
        return _instances[key]


def _status_412(error: BaseException | None) -> bool:
    return error is not None and classify(error)[0] == "changed"


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and value.startswith("env:")


def _resolve(name: str, value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _resolve(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(name, item) for item in value]
    if value == _HIDDEN:
        raise UserError(f"storage option {name} is a secret that was not stored; give it again, best as env:NAME")
    if isinstance(value, str) and value.startswith("env:"):
        found = os.environ.get(value[4:])
        if found is None:
            raise UserError(f"storage option {name}: the environment variable {value[4:]} is not set")
        return found
    return value
