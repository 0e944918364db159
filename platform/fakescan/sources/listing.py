"""Every object under a folder or prefix, as tables of URI, size and etag; large buckets are listed in parallel."""

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote_from_bytes

import pyarrow as pa
from fsspec import AbstractFileSystem

from fakescan.sources.manifest import conform
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.objects import patiently
from fakescan.storage.s3_listing import list_page, next_page
from fakescan.storage.store import is_local, is_s3
from fakescan.storage.transport.base import LOCAL_ETAG, entry_etag, normal_etag
from fakescan.storage.url import file_path, redact, split_bucket
from fakevlm.errors import UserError

LISTERS = 16
"""Listing requests at once."""

_SPLIT_LEAVES = 4 * LISTERS
_SPLIT_LEVELS = 6
_MAX_FOLDERS = 50_000
_FEW_FOLDERS = 20
_PAGES_AHEAD = 16
_LOCAL_ROWS = 16_384
_JOINED_ROWS = 1_000

Page = tuple[pa.Table, list[str]]


def list_objects(url: str, reading: Reading, *, name_start: str = "") -> Iterator[pa.Table]:
    """Everything below a folder or prefix, in tables of `ENTRY_SCHEMA`; an object called exactly `url` alone.

    No object comes twice. A prefix means a folder: `s3://bucket/img` holds `img/1.jpg`, not `img2/1.jpg`. The order is
    by folder and name as long as what is found out of turn fits in memory. `name_start`: names below the folder that
    begin otherwise may be left out, which S3 does without listing them.
    """
    filesystem, path = reading.store.filesystem(url)
    if is_local(filesystem):
        yield from _list_local(file_path(url), reading)
    elif is_s3(filesystem):
        yield from _list_s3(filesystem, url, name_start)
    else:
        yield from _list_other(filesystem, path, url)


def entries(uris: list[str], sizes: list[int | None], etags: list[str | None]) -> pa.Table:
    """A table of `ENTRY_SCHEMA` for objects that are images themselves."""
    columns = [pa.array(uris, pa.string()), pa.array(sizes, pa.int64()), pa.array(etags, pa.string())]
    return conform(pa.table(columns, names=["uri", "size", "etag"]))


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


def _list_s3(filesystem: AbstractFileSystem, url: str, name_start: str) -> Iterator[pa.Table]:
    bucket, key = split_bucket(url)
    base = f"{url.partition('://')[0]}://{bucket}/"

    def page(**arguments: Any) -> tuple[dict[str, Any], pa.Table]:
        what = f"listing {redact(url)}"
        answer = patiently(lambda: list_page(filesystem, Bucket=bucket, **arguments), what)
        objects = [item for item in answer.get("Contents", []) if not _is_marker(item["Key"], item.get("Size"))]
        return answer, entries(
            [base + item["Key"] for item in objects],
            [item.get("Size") for item in objects],
            [normal_etag(item["ETag"]) if item.get("ETag") else None for item in objects],
        )

    def split(prefix: str) -> Page | None:
        answer, table = page(Prefix=prefix, Delimiter="/")
        tables, folders = [table], [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
        if answer.get("IsTruncated") and not (folders and full_folders(prefix)):
            return None
        while following := next_page(answer):
            if len(folders) > _MAX_FOLDERS:
                return None
            answer, table = page(Prefix=prefix, Delimiter="/", **following)
            tables.append(table)
            folders += [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
        return pa.concat_tables(tables), folders

    def full_folders(prefix: str) -> bool:
        """Whether going through the folders one by one takes about as many requests as going through all at once."""
        _, table = page(Prefix=prefix)
        names = {uri[len(base) + len(prefix) :].partition("/")[0] for uri in table["uri"].to_pylist()}
        return len(names) <= _FEW_FOLDERS

    def everything(prefix: str) -> Iterator[pa.Table]:
        token: dict[str, str] = {}
        while True:
            answer, table = page(Prefix=prefix, **token)
            yield table
            following = next_page(answer)
            if following is None:
                return
            token = following

    if name_start:
        key = f"{key.rstrip('/')}/" if key.strip("/") else ""
    elif key and not key.endswith("/"):
        answer, table = page(Prefix=key, MaxKeys=1)
        first = next(iter(answer.get("Contents", [])), None)
        if first is not None and first["Key"] == key and first.get("Size", 1):  # none sorts before it
            yield table
            return
        key += "/"
    yield from _in_parallel(key + name_start, split, everything)


def _list_other(filesystem: AbstractFileSystem, path: str, url: str) -> Iterator[pa.Table]:
    """Any other fsspec store, folder by folder."""
    base = f"{url.partition('://')[0]}://"

    def split(folder: str) -> Page:
        try:
            found = patiently(lambda: filesystem.ls(folder, detail=True), f"listing {redact(url)}")
        except FileNotFoundError:
            found = []
        files = [item for item in found if item["type"] == "file" and not _is_marker(item["name"], item.get("size"))]
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

    yield from _in_parallel(path, split, everything)


def _is_marker(name: str, size: int | None) -> bool:
    """Whether an object merely stands for a folder; one with bytes in it is an object, whatever it is called."""
    return name.endswith("/") and not size


def _version(info: dict[str, Any]) -> str | None:
    etag = entry_etag(info)
    changed = info.get("LastModified") or info.get("created")
    return etag or (changed.isoformat() if isinstance(changed, datetime) else None)


@dataclass
class _Leaf:
    """A prefix that one thread lists to its end, or one table that is there already."""

    prefix: str | None
    pages: deque[pa.Table] = field(default_factory=deque)
    done: bool = False


def _in_parallel(
    root: str, split: Callable[[str], Page | None], everything: Callable[[str], Iterator[pa.Table]]
) -> Iterator[pa.Table]:
    """Split `root` into enough prefixes to keep the threads busy, then list each of them to its end.

    Tables come in the order of the prefixes, except that a prefix which has run too far ahead is drained early: that
    bounds the memory without making the others wait.
    """
    with ThreadPoolExecutor(LISTERS, thread_name_prefix="fakescan-list") as pool:
        leaves = _split(root, split, pool)
        changed = threading.Condition()
        stopped = False
        failures: list[BaseException] = []

        def work(leaf: _Leaf) -> None:
            try:
                for table in everything(leaf.prefix or ""):
                    with changed:
                        changed.wait_for(lambda: len(leaf.pages) < _PAGES_AHEAD or stopped)
                        if stopped:
                            return
                        leaf.pages.append(table)
                        changed.notify_all()
            except BaseException as error:  # raised again in the thread that iterates
                failures.append(error)
                raise
            finally:
                with changed:
                    leaf.done = True
                    changed.notify_all()

        def next_pages(turn: _Leaf) -> list[pa.Table] | None:
            """Tables to hand out while it is the turn of this leaf; None while there are none."""
            full = [leaf for leaf in leaves if len(leaf.pages) >= _PAGES_AHEAD]
            for leaf in [turn] if turn.pages else full:
                pages = list(leaf.pages)
                leaf.pages.clear()
                changed.notify_all()
                return pages
            return [] if turn.done or failures else None

        for leaf in leaves:
            if leaf.prefix is not None:
                pool.submit(work, leaf)
        try:
            for turn in leaves:
                while True:
                    with changed:
                        pages: list[pa.Table] | None = None
                        while (pages := next_pages(turn)) is None:
                            changed.wait()
                    if failures:
                        raise failures[0]
                    yield from (table for table in pages if table.num_rows)
                    if not pages:
                        break
        finally:
            with changed:
                stopped = True
                changed.notify_all()
            pool.shutdown(wait=False, cancel_futures=True)


def _split(root: str, split: Callable[[str], Page | None], pool: ThreadPoolExecutor) -> list[_Leaf]:
    leaves = [_Leaf(root)]
    for _ in range(_SPLIT_LEVELS):
        if not 0 < sum(leaf.prefix is not None for leaf in leaves) < _SPLIT_LEAVES:
            break
        answers = list(pool.map(lambda leaf: None if leaf.done or leaf.prefix is None else split(leaf.prefix), leaves))
        if not any(answers):
            break
        deeper: list[_Leaf] = []
        for leaf, answer in zip(leaves, answers, strict=True):
            if answer is None:
                deeper.append(leaf)
                continue
            table, children = answer
            if table.num_rows:
                deeper.append(_Leaf(None, deque([table]), done=True))
            deeper += [_Leaf(child) for child in children]
        leaves = deeper
    return leaves
