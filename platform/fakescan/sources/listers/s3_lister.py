"""The objects below a prefix of an S3 bucket: split by folders, and what is long in one folder by ranges of keys."""

import logging
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from fsspec import AbstractFileSystem

from fakescan.sources.listers.key_ranges import by_folder, find_cuts
from fakescan.sources.listers.list_process import ListProcesses
from fakescan.sources.listers.ordered_listing import Listed, OrderedListing, Segment
from fakescan.sources.listers.segment_split import LISTERS, Split, split_root
from fakescan.sources.listers.stretch import list_stretch, page_table
from fakescan.storage.objects import patiently
from fakescan.storage.s3.listing import Page, object_page
from fakescan.storage.store import Store
from fakescan.storage.url import redact, split_bucket
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

_LONG_PAGES = 8
_FEW_FOLDERS = 20
_MAX_FOLDERS = 50_000
_UNORDERED = (
    "the store lists its objects in no order of their names, so that not all may have been found: "
    "list the objects another way and scan that list"
)


class S3Lister:
    """Lists below one URL. `page_keys`: keys in a page at most, None for the server's limit.

    `long_pages`: pages after which what is left of a prefix is cut into ranges. `processes`: how many may help with a
    big bucket, None for as many as there are cores to spare.
    """

    def __init__(
        self,
        filesystem: AbstractFileSystem,
        url: str,
        store: Store,
        *,
        page_keys: int | None = None,
        long_pages: int = _LONG_PAGES,
        processes: int | None = None,
    ) -> None:
        self.filesystem, self.url, self.store = filesystem, url, store
        self.bucket, self.key = split_bucket(url)
        self.base = f"{url.partition('://')[0]}://{self.bucket}/"
        self.long_pages, self.processes = long_pages, processes
        self._limit = {} if page_keys is None else {"MaxKeys": page_keys}

    def tables(self, name_start: str = "") -> Iterator[pa.Table]:
        """Everything below the URL whose name there begins with `name_start`; an object of exactly this name alone.

        In the order of folder and name; in which order depends on nothing but what the bucket holds.
        """
        key = self.key
        if name_start:
            key = f"{key.rstrip('/')}/" if key.strip("/") else ""
        elif key and not key.endswith("/"):
            page = self._page(Prefix=key, MaxKeys=1)
            if page.objects.keys[:1] == [key] and page.objects.sizes[0] != 0:  # none sorts before it
                yield page_table(self.base, page)
                return
            key += "/"
        segments = split_root(key + name_start, self._split)
        with ListProcesses(self.store, self.url, most=self.processes) as processes:
            listing = OrderedListing(
                lambda segment: self._segment(segment, processes),
                self._names,
                self._cuts,
                threads=LISTERS,
                min_requests=self.long_pages,
            )
            yield from listing.tables(segments)

    def _page(self, **arguments: Any) -> Page:
        """One page, asked for until the store answers."""
        arguments = {"Bucket": self.bucket, **self._limit, **arguments}
        return patiently(lambda: object_page(self.filesystem, **arguments), f"listing {redact(self.url)}")

    def _split(self, prefix: str) -> Split | None:
        """The objects in a folder and the folders in it; None where it is better listed with all that they hold."""
        page = self._page(Prefix=prefix, Delimiter="/")
        tables, folders = [page_table(self.base, page)], list(page.folders)
        if page.following and not (folders and self._has_full_folders(prefix)):
            return None
        while page.following:
            if len(folders) > _MAX_FOLDERS:
                return None
            page = self._page(Prefix=prefix, Delimiter="/", **page.following)
            tables.append(page_table(self.base, page))
            folders += page.folders
        return pa.concat_tables(tables), folders

    def _has_full_folders(self, prefix: str) -> bool:
        """Whether going through the folders one by one takes about as many requests as going through all at once."""
        keys = self._page(Prefix=prefix).objects.keys
        return len({key[len(prefix) :].partition("/")[0] for key in keys}) <= _FEW_FOLDERS

    def _segment(self, segment: Segment, processes: ListProcesses) -> Iterator[Listed]:
        """The tables of a segment, in the order in which the server lists it."""

        def ask(named: dict[str, str]) -> Page:
            return self._page(Prefix=segment.prefix, **named)

        arguments: dict[str, str] | None = {"StartAfter": segment.start} if segment.start else {}
        arguments, position, pages = segment.following or arguments, segment.position or segment.start, 0
        while arguments is not None:
            stretch = None
            if pages:
                stretch = processes.list_stretch(segment.prefix, arguments, segment.end, self._limit)
            if stretch is None:
                stretch = list_stretch(ask, self.base, arguments, segment.end, 1)
            in_order = stretch.in_order
            if stretch.first is not None and position:
                follows = position < stretch.first or by_folder(position) < by_folder(stretch.first)
                in_order = in_order and follows
            if segment.start and stretch.lowest is not None and stretch.lowest <= segment.start:
                in_order = False
            if not in_order:
                segment.divisible = False
                if segment.is_range:
                    raise UserError(_UNORDERED)
            position = stretch.last if stretch.last is not None else position
            pages += stretch.pages
            processes.count(stretch.pages)
            yield Listed(stretch.table, position, stretch.pages, stretch.following)
            arguments = stretch.following

    def _names(self, table: pa.Table) -> list[str]:
        """The keys of a table."""
        return [uri[len(self.base) :] for uri in table["uri"].to_pylist()]

    def _cuts(self, segment: Segment) -> list[str]:
        """Where to cut what is left of a segment; nowhere if the server does not list what comes after a name."""

        def first_after(name: str) -> str | None:
            found = self._page(Prefix=segment.prefix, StartAfter=name, MaxKeys=1).objects.keys
            return found[0] if found else None

        try:
            return find_cuts(segment.prefix, segment.position, segment.end, first_after)
        except Exception as error:  # noqa: BLE001 - without cuts the listing only takes longer
            logger.info("%s is not cut into ranges: %s", redact(self.url), error)
            segment.divisible = False
            return []
