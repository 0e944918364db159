"""Keeps a scan within the folders and prefixes that its operator allows, whatever a list or a manifest names."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from fakescan.storage.prefixes import is_below, roots_of
from fakescan.storage.url import redact
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
