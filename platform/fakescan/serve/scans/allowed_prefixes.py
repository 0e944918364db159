"""Which sources clients may scan: below one of the operator's prefixes, however a URL is written."""

import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from fakescan.serve.scans.state import ScanRefusedError
from fakescan.sources.lists.url_list import LIST_EXTENSIONS
from fakescan.storage.url import file_path, scheme_of

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/]*)(?:/(?P<path>.*))?")
_MAGIC = re.compile(r"[*?\[\]{}\\]|::")
"""What makes an address mean several sources, or another one: patterns, braces, queries, fsspec's chained file systems.
A backslash is a slash to some."""


class Place(NamedTuple):
    """Where an address points, so that two can be compared: `store` is `scheme://bucket`, empty for this machine."""

    store: str
    parts: tuple[str, ...]

    @property
    def url(self) -> str:
        """The address in its one normal form, without a trailing slash."""
        return "/".join((self.store, *self.parts)) or "/"

    def is_below(self, prefix: "Place") -> bool:
        """Whether this is the prefix itself or lies in it; names count as a whole."""
        return self.store == prefix.store and self.parts[: len(prefix.parts)] == prefix.parts


def place_of(address: str) -> Place:
    """The place of a URL or of an absolute path. Symbolic links in a local path are followed, in a URL nothing is.

    Raises ValueError, in one line, for every address that could mean another place to whoever opens it: with patterns,
    queries, user names, `.`, `..` or empty names, also where those are percent-encoded, and for relative paths.
    """
    if not address or not address.isprintable() or address != address.strip():
        raise ValueError("must be a URL or an absolute path, without blank ends and control characters")
    _refuse_magic(address)
    url = _URL.fullmatch(address)
    if url is None or url["scheme"].lower() == "file":
        return _local_place(address, url)
    scheme, host = url["scheme"].lower(), url["host"]
    if not host or "%" in host or ("@" in host and scheme not in {"abfs", "abfss"}):
        raise ValueError("must name a bucket or host after ://, without user names, passwords and percent signs")
    if scheme_of(address) == "http" and "#" in address:
        raise ValueError("must have no fragment")
    return Place(f"{scheme}://{host}", _parts(url["path"] or ""))


def allowed_source(source: str, allow: Iterable[str]) -> str:
    """The source in its normal form, which is what may be scanned, if it lies below one of the prefixes in `allow`.

    Raises ScanRefusedError: `invalid` for an address that says too little or too much, `forbidden` for any other place.
    URIs in a manifest or a list in an allowed folder are checked by the scan itself; see `ScanConfig.allowed_prefixes`.
    """
    try:
        place = place_of(source)
    except ValueError as error:
        raise ScanRefusedError("invalid", f"source: {error}") from None
    if not any(place.is_below(place_of(prefix)) for prefix in allow):
        raise ScanRefusedError("forbidden", "source: this server does not scan there; ask its operator what it may")
    if _is_list(place):
        raise ScanRefusedError("invalid", "source: a list may name images anywhere; name the folder that holds them")
    return place.url


def _is_list(place: Place) -> bool:
    """Whether a scan would take it for a list of addresses by its name."""
    name = place.parts[-1].lower() if place.parts else ""
    return name.endswith(LIST_EXTENSIONS) or (scheme_of(place.url) == "http" and not os.path.splitext(name)[1])


def _local_place(address: str, url: re.Match[str] | None) -> Place:
    if url is None and not address.startswith("/"):
        raise ValueError("must be a URL or an absolute path")
    if url is not None and (url["host"] or url["path"] is None):
        raise ValueError("must be written file:///PATH")
    _parts((url["path"] or "") if url else address[1:])
    path = os.path.realpath(file_path(address))
    _refuse_magic(path)  # behind a link, or percent-encoded
    if not path.isprintable():
        raise ValueError("must have a name that can be printed")
    return Place("", tuple(part for part in path.split("/") if part))


def _refuse_magic(address: str) -> None:
    found = _MAGIC.search(address)
    if found is not None:
        raise ValueError(f"must not hold {found.group()}; name a folder, and give patterns as globs")


def _parts(path: str) -> tuple[str, ...]:
    """The names of a path between its slashes; one slash at the end is no name."""
    if not path:
        return ()
    parts = tuple(path.removesuffix("/").split("/"))
    for part in parts:
        if not _is_plain(part):
            raise ValueError("must have no empty names, no . or .. and no encoded slashes between its slashes")
    return parts


def _is_plain(part: str) -> bool:
    """Whether a name is the same step down to everybody, however often it is percent-decoded."""
    while True:
        if part in {"", ".", ".."} or "/" in part or "\\" in part or not part.isprintable():
            return False
        try:
            decoded = unquote(part, errors="strict")
        except UnicodeDecodeError:
            return False
        if decoded == part:
            return True
        part = decoded
