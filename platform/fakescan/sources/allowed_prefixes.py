"""Keeps a scan within the folders and prefixes that its operator allows, whatever a list or a manifest names."""

import os
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from fakescan.storage.url import file_path, redact, scheme_of
from fakevlm.errors import UserError


def within_prefixes(tables: Iterable[pa.Table], prefixes: tuple[str, ...]) -> Iterator[pa.Table]:
    """The tables of manifest entries as they are. Raises UserError at the first that would be read from elsewhere.

    What is read is the `object` that holds the image, where there is one, and else its `uri`.
    """
    roots = tuple(_root(prefix) for prefix in prefixes)
    for table in tables:
        objects = table["object"].to_pylist() if "object" in table.column_names else [None] * table.num_rows
        for uri, container in zip(table["uri"].to_pylist(), objects, strict=True):
            if not _normal(container or uri).startswith(roots):
                raise UserError(f"source: it names {redact(container or uri)}, which lies below no allowed prefix")
        yield table


def _root(prefix: str) -> str:
    return f"{_normal(prefix).rstrip('/')}/"


def _normal(address: str) -> str:
    """The address as it will be opened, or an empty string for one that may mean several places."""
    scheme = scheme_of(address)
    if scheme == "file":
        return os.path.realpath(file_path(address))
    if scheme != "http":
        return address  # the key of an object is what it is: no store resolves `..` in it
    url = urlsplit(address)
    path = url.path
    while (decoded := unquote(path)) != path:
        path = decoded
    if ".." in path.split("/") or "\\" in path or "@" in url.netloc:
        return ""
    return f"{url.scheme.lower()}://{url.netloc.lower()}{url.path}"
