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
    roots = roots_of(prefixes)
    for table in tables:
        objects = table["object"].to_pylist() if "object" in table.column_names else [None] * table.num_rows
        for uri, container in zip(table["uri"].to_pylist(), objects, strict=True):
            if not is_below(container or uri, roots):
                raise UserError(f"source: it names {redact(container or uri)}, which lies below no allowed prefix")
        yield table


def roots_of(prefixes: Iterable[str]) -> tuple[str, ...]:
    """The prefixes as `is_below` compares them."""
    return tuple(f"{_normal(prefix).rstrip('/')}/" for prefix in prefixes)


def is_below(address: str, roots: tuple[str, ...]) -> bool:
    """Whether an object lies below one of the prefixes, wherever links lead."""
    return _normal(address).startswith(roots)


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
