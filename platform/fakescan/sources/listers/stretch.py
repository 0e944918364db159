"""A few pages of an S3 listing, one after the other, as one table."""

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from fakescan.sources.listers.key_ranges import is_in_order
from fakescan.sources.listers.object_entries import entries, is_marker
from fakescan.storage.s3.listing import Page
from fakescan.storage.transport.base import normal_etag


class Stretch(NamedTuple):
    """Some pages. Keys of objects that stand for folders count in all but the table."""

    table: pa.Table
    first: str | None
    """The first key; None if there are no keys."""
    last: str | None
    lowest: str | None
    in_order: bool
    following: dict[str, str] | None
    """Arguments for the page after these; None after the last."""
    pages: int


def list_stretch(
    ask: Callable[[dict[str, str]], Page], base: str, arguments: dict[str, str], end: str | None, pages: int
) -> Stretch:
    """Up to `pages` pages, no further one once a key comes after `end`. `base`: what URIs have before the key."""
    tables: list[pa.Table] = []
    ends: list[str] = []
    lowest: str | None = None
    in_order = True
    following: dict[str, str] | None = arguments
    while following is not None and len(tables) < pages and not (ends and end is not None and ends[-1] > end):
        page = ask(following)
        keys = page.objects.keys
        if keys:
            in_order = in_order and is_in_order([*ends[-1:], *keys])
            least = min(keys)
            lowest = least if lowest is None else min(lowest, least)
            ends += [keys[0], keys[-1]]
        tables.append(page_table(base, page))
        following = page.following
    return Stretch(
        pa.concat_tables(tables).combine_chunks(),
        ends[0] if ends else None,
        ends[-1] if ends else None,
        lowest,
        in_order,
        following,
        len(tables),
    )


def page_table(base: str, page: Page) -> pa.Table:
    """The objects of a page, without those that merely stand for folders."""
    keys, sizes, etags = page.objects
    if any(key.endswith("/") for key in keys):
        objects = [one for one in zip(keys, sizes, etags, strict=True) if not is_marker(one[0], one[1])]
        keys, sizes, etags = ([one[part] for one in objects] for part in range(3))  # type: ignore[assignment]
    return entries([base + key for key in keys], list(sizes), [normal_etag(tag) if tag else None for tag in etags])
