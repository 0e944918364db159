"""Entries of objects that are images themselves."""

import pyarrow as pa

from fakescan.sources.manifest import conform


def entries(uris: list[str], sizes: list[int | None], etags: list[str | None]) -> pa.Table:
    """A table of `ENTRY_SCHEMA` for objects that are images themselves."""
    columns = [pa.array(uris, pa.string()), pa.array(sizes, pa.int64()), pa.array(etags, pa.string())]
    return conform(pa.table(columns, names=["uri", "size", "etag"]))


def is_marker(name: str, size: int | None) -> bool:
    """Whether an object merely stands for a folder; one with bytes in it is an object, whatever it is called."""
    return name.endswith("/") and not size
