"""Every object under a folder or prefix, as tables of URI, size and etag; large buckets are listed in parallel."""

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote_from_bytes

import pyarrow as pa
from fsspec import AbstractFileSystem

from fakescan.sources.listers.object_entries import entries, is_marker
from fakescan.sources.listers.ordered_listing import Listed, OrderedListing
from fakescan.sources.listers.s3_lister import S3Lister
from fakescan.sources.listers.segment_split import LISTERS, Split, split_root
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.objects import patiently
from fakescan.storage.store import is_local, is_s3
from fakescan.storage.transport.base import LOCAL_ETAG, entry_etag
from fakescan.storage.url import file_path, redact
from fakevlm.errors import UserError

_LOCAL_ROWS = 16_384
_JOINED_ROWS = 1_000


def list_objects(url: str, reading: Reading, *, name_start: str = "") -> Iterator[pa.Table]:
    """Everything below a folder or prefix, in tables of `ENTRY_SCHEMA`; an object called exactly `url` alone.

    No object comes twice. A prefix means a folder: `s3://bucket/img` holds `img/1.jpg`, not `img2/1.jpg`. The order
    depends on nothing but what is there. `name_start`: names below the folder that begin otherwise may be left out,
    which S3 does without listing them.
    """
    filesystem, path = reading.store.filesystem(url)
    if is_local(filesystem):
        yield from _list_local(file_path(url), reading)
    elif is_s3(filesystem):
        yield from S3Lister(filesystem, url, reading.store).tables(name_start)
    else:
        yield from _list_other(filesystem, path, url)


def local_uri(path: str) -> str:
    """The path itself; for names that are not UTF-8 a percent-encoded `file://` URL, so that they can be stored."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file://{quote_from_bytes(os.fsencode(path))}"
    return path


def _list_local(path: str, reading: Reading) -> Iterator[pa.Table]:
    """A folder, depth first in the order of names. Symbolic links are followed, and each real folder is listed once."""
    top = path
    if not os.path.isdir(path):
        status = os.stat(path)
        yield entries([local_uri(path)], [status.st_size], [f"{LOCAL_ETAG}{status.st_mtime_ns}"])
        return
    uris: list[str] = []
    sizes: list[int | None] = []
    etags: list[str | None] = []
    folders, seen = [path], set()
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            if folder == top:
                raise UserError(f"cannot list the folder {folder}: {error.strerror}") from None
            reading.damaged(local_uri(folder), f"is a folder that cannot be listed: {error.strerror}")
            continue
        inner = {item.name: item.path for item in items if _is_folder(item)}
        folders += reversed(inner.values())
        for item in items:
            if item.name in inner:
                continue
            try:
                status = item.stat()
                if not stat.S_ISREG(status.st_mode):  # a pipe or a device
                    reading.left_out.seen += 1
                    reading.left_out.add(LeftOutReason.NOT_A_FILE, local_uri(item.path))
                    continue
                uris.append(local_uri(item.path))
                sizes.append(status.st_size)
                etags.append(f"{LOCAL_ETAG}{status.st_mtime_ns}")
            except OSError:  # a link that leads nowhere, or to itself: fetching it says so in its row
                uris.append(local_uri(item.path))
                sizes.append(None)
                etags.append(None)
        if len(uris) >= _LOCAL_ROWS:
            yield entries(uris, sizes, etags)
            uris, sizes, etags = [], [], []
    if uris:
        yield entries(uris, sizes, etags)


def _is_folder(item: "os.DirEntry[str]") -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _list_other(filesystem: AbstractFileSystem, path: str, url: str) -> Iterator[pa.Table]:
    """Any other fsspec store, folder by folder."""
    base = f"{url.partition('://')[0]}://"

    def split(folder: str) -> Split:
        try:
            found = patiently(lambda: filesystem.ls(folder, detail=True), f"listing {redact(url)}")
        except FileNotFoundError:
            found = []
        files = [item for item in found if item["type"] == "file" and not is_marker(item["name"], item.get("size"))]
        table = entries(
            [base + str(item["name"]).removeprefix("/") for item in files],
            [item.get("size") for item in files],
            [_version(item) for item in files],
        )
        return table, sorted(str(item["name"]) for item in found if item["type"] == "directory")

    def everything(folder: str) -> Iterator[pa.Table]:
        folders = [folder]
        joined: list[pa.Table] = []  # folders may hold few objects each, and what comes after works on many at once
        rows = 0
        while folders:
            table, children = split(folders.pop())
            folders += reversed(children)
            joined += [table] if table.num_rows else []
            rows += table.num_rows
            if joined and (rows >= _JOINED_ROWS or not folders):
                yield pa.concat_tables(joined)
                joined, rows = [], 0

    listing = OrderedListing(lambda segment: (Listed(table) for table in everything(segment.prefix)), threads=LISTERS)
    yield from listing.tables(split_root(path, split))


def _version(info: dict[str, Any]) -> str | None:
    etag = entry_etag(info)
    changed = info.get("LastModified") or info.get("created")
    return etag or (changed.isoformat() if isinstance(changed, datetime) else None)
