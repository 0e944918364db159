"""API keys: kept as hashes in one JSON file, looked up in constant time, with an end and a successor where wanted.

The hash is a single SHA-256. A slow one protects passwords, of which there are few likely ones; the secret of a key is
256 random bits, which nobody guesses at any speed.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator
from pydantic_core import from_json

from fakescan.settings.strict_model import StrictModel
from fakevlm.errors import UserError

logger = logging.getLogger("ray.serve.fakescan")

VERSION = 1
CHECK_S = 1.0
"""Seconds within which `WatchedKeys` notices a changed file."""

# The id has a fixed length, so the underscores that a secret may hold are no separators.
_PRESENTED = re.compile(r"fsk_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[0-9a-f]{8}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOBODY = "0" * 64

Scope = Literal["detect", "scans", "metrics"]
Count = Annotated[int, Field(ge=1, le=10**9, strict=True)]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Key(StrictModel):
    """One client's key, without its secret."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    """The public part of the key."""
    name: str
    """Name of its owner, for the log: letters, digits, `.`, `_`, `-`; unique in the file, not in the form of an id."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the secret part, in hex."""
    created_at: AwareDatetime
    """When it was made."""
    per_minute: Count | None = None
    """Images in a minute. None: the server's default."""
    burst: Count | None = None
    """Images at once. None: the server's default."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("detect",)
    """Requests that it opens: detect, scans, metrics."""
    disabled: bool = False
    """Whether it is refused."""
    expires_at: AwareDatetime | None = None
    """From when on it is refused. None: never."""
    old_sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """SHA-256 of the secret before this one, which is accepted too until `old_until`."""
    old_until: AwareDatetime | None = None
    """From when on the secret before this one is refused."""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("use 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first")
        if _ID.fullmatch(name):
            raise ValueError("8 hex digits look like the id of a key; use another name")
        return name

    @model_validator(mode="after")
    def _old_secret_ends(self) -> Self:
        if (self.old_sha256 is None) != (self.old_until is None):
            raise ValueError("old_sha256 and old_until belong together; give both or none")
        return self

    def is_valid(self, now: datetime) -> bool:
        """Whether it is accepted, for whoever has its secret."""
        return not self.disabled and (self.expires_at is None or now < self.expires_at)


class KeyFile(StrictModel):
    """All keys of a server, as the file has them."""

    version: Literal[1] = 1
    """Version of the format."""
    keys: tuple[Key, ...] = ()
    """The keys, oldest first."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for what, values in (("id", [key.id for key in self.keys]), ("name", [key.name for key in self.keys])):
            if len(set(values)) < len(values):
                (twice, _), *_ = Counter(values).most_common(1)
                raise ValueError(f"two keys have the {what} {twice}; remove one")
        return self


class KeyRing:
    """Finds the key that a client presents."""

    def __init__(self, file: KeyFile, *, clock: Callable[[], datetime] = _utc_now) -> None:
        self._keys = {key.id: key for key in file.keys}
        self._clock = clock

    def __len__(self) -> int:
        return len(self._keys)

    def expiries(self) -> dict[str, datetime]:
        """When keys end that are not disabled, by their names; without those that never do."""
        return {key.name: key.expires_at for key in self._keys.values() if key.expires_at and not key.disabled}

    def find(self, presented: str) -> Key | None:
        """The key, or None if it is malformed, unknown, wrong, disabled or has expired. Never raises.

        Unknown ids, wrong secrets and keys that are not accepted take the same time. Of a long text only the first
        characters are looked at.
        """
        match = _PRESENTED.fullmatch(presented)
        if match is None:
            return None
        key = self._keys.get(match[1])
        digest, now = _hash(match[2]), self._clock()
        is_current = hmac.compare_digest(digest, _NOBODY if key is None else key.sha256)
        is_old = hmac.compare_digest(digest, _NOBODY if key is None or key.old_sha256 is None else key.old_sha256)
        if key is None or not key.is_valid(now):
            return None
        return key if is_current or (is_old and key.old_until is not None and now < key.old_until) else None


class WatchedKeys:
    """The keys of a file that is edited while the server runs.

    A file that became unreadable, damaged or missing changes nothing but the log: the keys read last stay valid, so a
    slip of an editor locks nobody out. Keys are therefore revoked by editing the file, not by deleting it.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads the file; UserError as of `read_keys`. `clock` counts seconds."""
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        self._problem: str | None = None
        self._stamp, self._ring = self._read()

    def ring(self) -> KeyRing:
        """The keys, at most CHECK_S old. Never raises."""
        now = self._clock()
        if now - self._checked_at >= CHECK_S:
            self._checked_at = now
            self._refresh()
        return self._ring

    def _refresh(self) -> None:
        # After a failure every check tries again: `chmod` fixes a file without changing its stamp.
        if self._problem is None and self._stamp == _stamp(self._path):
            return
        try:
            self._stamp, self._ring = self._read()
        except UserError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                logger.warning("%s (the %d keys read before stay valid)", error, len(self._ring))
            return
        self._problem = None
        logger.info("keys: read %d from %s", len(self._ring), self._path)

    def _read(self) -> tuple[tuple[int, int, int] | None, KeyRing]:
        # The stamp is taken first: a change in between is then read again, not missed.
        return _stamp(self._path), KeyRing(read_keys(self._path))


class KeyEdit:
    """The keys of a file while it is locked; see `edit_keys`."""

    def __init__(self, file: KeyFile) -> None:
        self.keys = list(file.keys)

    def add(
        self,
        name: str,
        *,
        per_minute: int | None = None,
        burst: int | None = None,
        scopes: tuple[str, ...] = ("detect",),
        expires_at: datetime | None = None,
    ) -> str:
        """Makes a key and returns what its owner presents, `fsk_<id>_<secret>`, of which only a hash is kept.

        Raises UserError for a name that is taken or not plain, for wrong limits or scopes, and for an end in the past.
        """
        if any(key.name == name for key in self.keys):
            raise UserError(f"name: there is a key {name} already; use another name, or remove that key first")
        now = datetime.now(UTC).replace(microsecond=0)
        if expires_at is not None and expires_at <= now:
            raise UserError(f"expires: {expires_at:%Y-%m-%d %H:%M} is in the past")
        taken = {key.id for key in self.keys}
        while (id := secrets.token_hex(4)) in taken:
            pass
        secret = secrets.token_urlsafe(32)
        fields = {"id": id, "name": name, "sha256": _hash(secret), "created_at": now, "expires_at": expires_at}
        limits = {"per_minute": per_minute, "burst": burst, "scopes": tuple(dict.fromkeys(scopes))}
        try:
            self.keys.append(Key.model_validate({**fields, **limits}))
        except ValidationError as error:
            raise UserError(_first(error)) from None
        return f"fsk_{id}_{secret}"

    def rotate(self, name_or_id: str, grace: timedelta) -> str:
        """Gives a key another secret and returns what its owner presents from now on; the old one works for `grace`.

        A secret that was old already ends at once: there are two at most. Raises UserError if there is no such key, and
        for one that is refused, whatever its secret.
        """
        index = self._index(name_or_id)
        key, secret = self.keys[index], secrets.token_urlsafe(32)
        if not key.is_valid(_utc_now()):
            state = "is disabled" if key.disabled else "has expired"
            raise UserError(f"key: {key.name} {state}, and another secret would not open it; make another key")
        has_grace = grace > timedelta()
        self.keys[index] = key.model_copy(
            update={
                "sha256": _hash(secret),
                "old_sha256": key.sha256 if has_grace else None,
                "old_until": datetime.now(UTC).replace(microsecond=0) + grace if has_grace else None,
            }
        )
        return f"fsk_{key.id}_{secret}"

    def disable(self, name_or_id: str) -> Key:
        """Has a key refused, and returns it. Raises UserError if there is no such key."""
        index = self._index(name_or_id)
        self.keys[index] = self.keys[index].model_copy(update={"disabled": True})
        return self.keys[index]

    def remove(self, name_or_id: str) -> Key:
        """Removes a key, and returns it. Raises UserError if there is no such key."""
        return self.keys.pop(self._index(name_or_id))

    def _index(self, name_or_id: str) -> int:
        for index, key in enumerate(self.keys):
            if name_or_id in (key.id, key.name):
                return index
        known = ", ".join(key.name for key in self.keys[:10]) or "none"
        more = f" and {len(self.keys) - 10} more" if len(self.keys) > 10 else ""
        raise UserError(f"key: there is no {name_or_id!r} in the file; it has {known}{more}")


def read_keys(path: Path) -> KeyFile:
    """The keys of a file. Raises UserError that names it when it is missing, unreadable or damaged."""
    try:
        content = from_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"keys: {path} does not exist; create one with fakescan keys add NAME --file {path}") from None
    except OSError as error:
        raise UserError(f"keys: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(
            f"keys: {path} is not JSON ({error}); fix it, or create another with fakescan keys add"
        ) from None
    if not isinstance(content, dict) or "version" not in content:
        raise UserError(f"keys: {path} is not a file of keys; create one with fakescan keys add NAME --file FILE")
    if content["version"] != VERSION:
        raise UserError(
            f"keys: {path} has version {content['version']!r}, not {VERSION}; use the fakescan that wrote it"
        )
    try:
        return KeyFile.model_validate(content)
    except ValidationError as error:
        raise UserError(f"keys: {path} is damaged: {_first(error)}") from None


def write_keys(path: Path, file: KeyFile) -> None:
    """Writes a file of keys, whole or not at all. Raises UserError if it cannot be written.

    A new file has mode 0600. One that was there keeps its owner and mode, for a server that runs as another user must
    go on reading it: otherwise it would go on with the keys it has, those just disabled included.
    """
    path = path.resolve()  # a link stays one
    temporary = path.parent / f".{path.name[:200]}.{secrets.token_hex(8)}.tmp"
    try:
        old = path.stat() if path.exists() else None
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                if old is not None:
                    with suppress(PermissionError):  # only root gives files away
                        os.fchown(out.fileno(), old.st_uid, old.st_gid)
                    os.fchmod(out.fileno(), stat.S_IMODE(old.st_mode))
                # Without what is not set: servers of before there was such a thing read the file, too.
                out.write(file.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"keys: cannot write {path}: {error.strerror}") from None


@contextmanager
def edit_keys(path: Path, *, create: bool = False) -> Iterator[KeyEdit]:
    """Reads a file of keys, lets the body change them, and writes them, all under a lock (FILE.lock beside it).

    An error in the body leaves the file as it was. Raises UserError as of `read_keys` and `write_keys`; with `create` a
    missing file is made.
    """
    if not create:
        read_keys(path)  # a mistyped path leaves no lock behind
    target = path.resolve()
    if not target.parent.is_dir():
        raise UserError(f"keys: cannot write {path}: {target.parent} is not a folder; make it first")
    try:
        # The lock stays: were it removed, a writer that waits for it and one that comes later would hold two.
        lock = os.open(target.with_name(f"{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"keys: cannot write {path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        edit = KeyEdit(KeyFile() if create and not path.exists() else read_keys(path))
        yield edit
        write_keys(path, KeyFile(keys=tuple(edit.keys)))
    finally:
        os.close(lock)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """A value that changes when the file is edited, replaced or removed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _first(error: ValidationError) -> str:
    """The first mistake as `field: what is wrong`, without the value, which might be a secret in the wrong place."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
