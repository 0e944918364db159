"""Stores: where and as whom objects are read and written, and the file systems that follow from it."""

import inspect
import os
import threading
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any, cast

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.registry import known_implementations
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, Secret, field_serializer

from fakescan.storage.prefixes import Boundary
from fakescan.storage.s3 import listing_xml
from fakescan.storage.url import file_path, scheme_of, web_address
from fakevlm import __version__
from fakevlm.errors import UserError
from fakevlm.remote import ANSWER_S, missing_package, quiet_clients

_HIDDEN = "**********"
_KNOWN = "a local path, s3://, gs://, az://, https://"

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
    _boundary: Boundary = PrivateAttr(default=Boundary())

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
        if values == plain:
            return self
        return Store.model_validate({**self._plain(), "options": values})._bounded(self._boundary)

    @property
    def boundary(self) -> Boundary:
        """What of the web may be read with this store."""
        return self._boundary

    def within(self, boundary: Boundary) -> "Store":
        """The same store for reading what is inside the boundary, and nothing else of the web."""
        return self.model_copy()._bounded(boundary)

    def _bounded(self, boundary: Boundary) -> "Store":
        self.__dict__.pop("identity", None)  # a copy has the cached one
        self._boundary = boundary
        return self

    @cached_property
    def identity(self) -> str:
        """Equal for equal settings. Holds the secrets: a key for caches, never shown."""
        return repr((self._plain(), self._boundary))

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

    def filesystem(self, url: str, *, attempts: int = 3) -> tuple[AbstractFileSystem, str]:
        """The fsspec file system for `url` and the path in it. Instances are shared by the threads of a process.

        Listings are never cached. `attempts` bounds how often one request is sent before its error is raised. Raises
        `UserError` for an unknown scheme or one whose package is not installed.
        """
        scheme = scheme_of(url)
        key = (os.getpid(), scheme, attempts, self.identity)
        with _instances_lock:
            filesystem = _instances.get(key)
        if filesystem is None:  # outside the lock: some clients look for credentials for minutes
            made = make_filesystem(self, scheme, attempts=attempts)
            with _instances_lock:
                filesystem = _instances.setdefault(key, made)
        return filesystem, path_in(filesystem, url)


def known_filesystems() -> list[AbstractFileSystem]:
    """The file systems that this process shares."""
    with _instances_lock:
        return [filesystem for (pid, *_), filesystem in _instances.items() if pid == os.getpid()]


def path_in(filesystem: AbstractFileSystem, url: str) -> str:
    """The path under which `filesystem` knows `url`, without a trailing slash."""
    if scheme_of(url) == "file":
        return file_path(url)
    if scheme_of(url) == "http":
        return web_address(url)
    return str(filesystem._strip_protocol(url))


def make_filesystem(store: Store, scheme: str, *, attempts: int, **extra: Any) -> AbstractFileSystem:
    """A new fsspec file system; `extra` goes to its constructor.

    Keep a synchronous one for the life of the process: s3fs closes its session on whichever event loop happens to run
    where the garbage collector finds it.
    """
    if scheme not in known_implementations:
        raise UserError(f"unknown scheme {scheme}:// (known: {_KNOWN})")
    quiet_clients(scheme)
    try:
        kind = get_filesystem_class(scheme)
    except ImportError as error:
        raise missing_package(scheme, error) from None
    options = _constructor_options(store.resolved(), scheme, attempts)
    if lacking := _lacking(kind, {**options, **extra}):
        raise UserError(f"{scheme}:// is not supported: its client needs {lacking}; copy what is there to {_KNOWN}")
    return kind(**{**options, **extra}, skip_instance_cache=True, use_listings_cache=False)


def _lacking(kind: type[AbstractFileSystem], options: dict[str, Any]) -> str:
    """What a client must be told that is not among the options, such as a host: addresses do not carry it here."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return ", ".join(name for name in needed if name not in options)


def _constructor_options(store: Store, scheme: str, attempts: int) -> dict[str, Any]:
    """The keyword arguments of the file system's class that say what `store` says."""
    options: dict[str, Any] = {name: secret.get_secret_value() for name, secret in store.options.items()}
    if scheme == "file" or scheme == "memory":
        return {}
    headers = options.pop("headers", None)
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
    if scheme not in ("http", "s3"):
        return options
    # aiohttp, which it imports, is a tenth of what a worker's process takes to start.
    from fakescan.storage.web_client import bounded_client, s3_http_session

    if scheme == "http":
        client = {"headers": headers or {}, "timeout": _web_timeout()}
        return {"encoded": True, "client_kwargs": client, "get_client": bounded_client(store.boundary)}
    config = {
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "connect_timeout": 10,
        "read_timeout": 60,
        # Checksums in trailers are refused by older S3-compatible servers, and cost CPU for every image.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        # Botocore's own is put together anew, twice, for every request: a seventh of what a GET costs.
        "user_agent": f"fakescan/{__version__} aiobotocore/{version('aiobotocore')}",
        "http_session_cls": s3_http_session(),
        **options.pop("config_kwargs", {}),
    }
    client = dict(options.pop("client_kwargs", {}))
    if store.region:
        client.setdefault("region_name", store.region)
    if store.endpoint_url:
        options.setdefault("endpoint_url", store.endpoint_url)
    session = s3_session(store.profile)
    return {**options, "anon": store.anon, "config_kwargs": config, "client_kwargs": client, "session": session}


def _web_timeout() -> Any:
    """Bounds silence, not the time that a long list takes."""
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, sock_connect=ANSWER_S / 2, sock_read=ANSWER_S)


def s3_session(profile: str | None) -> Any:
    """A session that looks for credentials by itself. Its answers are parsed in a third of the time: botocore's own
    parser of dates is that slow.
    """
    from aiobotocore.session import AioSession
    from botocore.utils import parse_timestamp

    def fast_timestamp(text: str) -> datetime:
        try:  # of headers, of listings
            return parsedate_to_datetime(text) if text.endswith(" GMT") else datetime.fromisoformat(text)
        except (AttributeError, TypeError, ValueError):
            return cast(datetime, parse_timestamp(text))

    session = AioSession(profile=profile)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=fast_timestamp)
    listing_xml.register(session)
    return session


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether the file system is this machine's own."""
    return "file" in _protocols(fs)


def is_s3(fs: AbstractFileSystem) -> bool:
    """Whether the file system speaks S3 through s3fs."""
    return "s3" in _protocols(fs)


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


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


def without_retries(fs: AbstractFileSystem) -> AbstractFileSystem:
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
