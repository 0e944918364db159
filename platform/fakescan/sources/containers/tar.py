"""WebDataset shards: the images inside tar files, each by the byte range that holds it."""

import itertools
import os
import posixpath
import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from fakescan.isolation.time_limit import uncounted
from fakescan.sources.containers.archive_file import (
    COMPRESSED_EXTENSIONS,
    PLAIN_EXTENSIONS,
    BrokenStreamError,
    NoTarError,
    is_compressed,
    open_archive,
)
from fakescan.sources.containers.tar_headers import Damage, Member, TarHeaders, shown_name
from fakescan.sources.filters.content import HEAD_BYTES, begins_as_image
from fakescan.sources.filters.name_filter import OTHER_EXTENSIONS, extension_of, says_nothing
from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.reading import LeftOut, LeftOutReason, Reading
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.objects import patiently
from fakescan.storage.store import Store, is_local
from fakescan.storage.transport.base import LOCAL_ETAG, REPLACED, entry_etag
from fakescan.storage.url import names_host, redact
from fakevlm.errors import ErrorCode, ImageError, UserError

TAR_EXTENSIONS = (*PLAIN_EXTENSIONS, *COMPRESSED_EXTENSIONS)
"""File names that are tar files, for `str.endswith` in lower case."""

OTHER_ARCHIVES = (".zip", ".7z", ".rar")
"""File names of archives that `tar_entries` refuses with what to do."""

MAX_URI_CHARACTERS = 2**15
"""Longest URI of a member that becomes a row; operating systems allow paths of 4,096 bytes."""

_SHARDS_AT_ONCE = 8
_MAX_LINKS = 40
"""Links that are followed to one file, as in Linux."""

_UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]|:(?=:)|:$")
_WITHOUT_CONTENT = (tarfile.DIRTYPE, tarfile.XGLTYPE, b"V", b"D")
"""Folders, global headers, and GNU tar's volume labels and lists of folders: nobody misses a row for them."""


@dataclass
class _Contents:
    """What one tar file holds: its regular members in columns, and its share of the account."""

    uri: str
    uris: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    damage: list[str] = field(default_factory=list)
    end_mark: bool = True
    continued: bool = False
    strangers: set[int] = field(default_factory=set)
    """Rows whose names say nothing, and whose content is no image."""

    def add(self, member: Member) -> None:
        """A row for a regular member; others are left out."""
        if member.sparse:
            self.leave_out(LeftOutReason.SPARSE, member.name)
        elif member.kind in tarfile.REGULAR_TYPES:
            is_image = member.head is None or begins_as_image(member.head)
            self.add_row(member.name, member.offset, member.size, is_image=is_image)
        else:
            self.leave_out(LeftOutReason.NOT_A_FILE, member.name)

    def add_row(self, name: str, offset: int, size: int, *, is_image: bool) -> None:
        """A row, unless nothing could store its name."""
        uri = member_uri(name, self.uri)
        if len(uri) > MAX_URI_CHARACTERS:
            self.leave_out(LeftOutReason.BAD_ADDRESS, name)
            return
        if not is_image:
            self.strangers.add(len(self.uris))
        self.uris.append(uri)
        self.offsets.append(offset)
        self.sizes.append(size)

    def leave_out(self, reason: LeftOutReason, name: str) -> None:
        """Count a member that becomes no row."""
        self.left_out.add(reason, f"tar://{shown_name(name)}::{redact(self.uri)}")

    def leave_out_strangers(self) -> None:
        """Count the rows that are no images, now that no link needs them any more."""
        if not self.strangers:
            return
        start, end = len("tar://"), -len(f"::{self.uri}")
        for row in sorted(self.strangers):
            name = self.uris[row][start:end]
            self.leave_out(LeftOutReason.CONTENT, name)
            self.left_out.add_extensions({extension_of(name): 1})
        kept = [row not in self.strangers for row in range(len(self.uris))]
        self.uris = list(itertools.compress(self.uris, kept))
        self.sizes = list(itertools.compress(self.sizes, kept))
        self.offsets = list(itertools.compress(self.offsets, kept))


def tar_entries(tars: Iterable[pa.Table], reading: Reading, *, by_content: bool = False) -> Iterator[pa.Table]:
    """All regular members of the tar files in tables of `ENTRY_SCHEMA`, one output table per tar, in their order.

    Links to regular members of the same tar are rows, too. What is no file, and damage, goes into the account. With
    `by_content` so do members whose names say nothing and whose first bytes are not those of an image: these come with
    the header, so that looking at them costs nothing.
    """
    shards = (
        shard for table in tars for shard in zip(table["uri"].to_pylist(), table["etag"].to_pylist(), strict=True)
    )
    unmarked: list[str] = []
    continued: list[str] = []

    def taken(done: Future[_Contents], etag: str | None) -> pa.Table:
        contents = done.result()
        _account(contents, reading)
        if not contents.end_mark:
            unmarked.append(contents.uri)
        if contents.continued:
            continued.append(contents.uri)
        return _table(contents, etag)

    with ThreadPoolExecutor(_SHARDS_AT_ONCE, thread_name_prefix="fakescan-tar") as pool:
        waiting: deque[tuple[Future[_Contents], str | None]] = deque()
        for uri, etag in shards:
            contents = pool.submit(_contents, uri, reading.store, whole=reading.skip_damaged, by_content=by_content)
            waiting.append((contents, etag))
            if len(waiting) > _SHARDS_AT_ONCE:  # no more than that wait in memory
                yield taken(*waiting.popleft())
        while waiting:
            yield taken(*waiting.popleft())
    if unmarked:
        reading.note(f"{_count(unmarked)} without an end mark, maybe cut between two members: {redact(unmarked[0])}")
    if continued:
        reading.note(f"{_count(continued)} with members behind an end mark, which were read: {redact(continued[0])}")


def tar_members(tar: str, reading: Reading) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of each regular member of a tar file, by its URI (`member_uri`).

    Members behind damage are found, and nothing goes into the account. `UserError` if the tar cannot be read at all.
    """
    contents = _contents(tar, reading.store, whole=True)
    if contents.damage and not contents.uris:
        raise UserError(f"{redact(tar)} {contents.damage[0]}")
    members: dict[str, tuple[int, int]] = {}
    for uri, offset, size in zip(contents.uris, contents.offsets, contents.sizes, strict=True):
        members.setdefault(uri, (offset, size))  # of several with one name a scan takes the first, too
    return members


def read_members(
    tar: str, etag: str | None, spans: Iterable[tuple[int, int]], store: Store
) -> Iterator[tuple[tuple[int, int], bytes]]:
    """The spans (offset, size) of a compressed tar file, which must be in ascending order, and the bytes of each.

    Unpacks the file once, up to the last of them. `ImageError` (changed) when the file is not the one in the manifest,
    (truncated) when it cannot be unpacked that far.
    """
    filesystem, path = store.filesystem(tar)
    if etag:
        if is_local(filesystem):
            now: str | None = f"{LOCAL_ETAG}{os.stat(path).st_mtime_ns}"
        else:
            with uncounted():
                now = entry_etag(filesystem.info(path))
        if now and now != etag:
            raise ImageError(ErrorCode.CHANGED, REPLACED)
    try:
        with open_archive(tar, store) as file:
            for offset, size in spans:
                data = file.read(offset, size)
                if len(data) < size:
                    raise ImageError(ErrorCode.TRUNCATED, "the tar file ends within this member")
                yield (offset, size), data
    except NoTarError as error:
        raise ImageError(ErrorCode.CHANGED, f"the tar file {error}") from None
    except BrokenStreamError as error:
        raise ImageError(ErrorCode.TRUNCATED, f"the tar file cannot be unpacked up to this member: {error}") from None


def member_uri(name: str, tar: str) -> str:
    """`tar://MEMBER::TAR`, which `fsspec.open` understands.

    What would end the name early, cannot be stored or does not fit on a line is percent-encoded: `::`, control
    characters, and bytes that are not UTF-8.
    """
    return f"tar://{_nameable(name)}::{tar}"


def _nameable(name: str) -> str:
    return _UNNAMEABLE.sub(
        lambda match: "".join(f"%{byte:02X}" for byte in match.group().encode(errors="surrogateescape")), name
    )


def _contents(uri: str, store: Store, *, whole: bool, by_content: bool = False) -> _Contents:
    """What a tar file holds, up to the first damage unless `whole`. `UserError` if the store does not deliver it."""
    return patiently(
        lambda: _read_contents(uri, store, whole=whole, by_content=by_content),
        f"reading {redact(uri)}",
        patience_s=0.0 if names_host(uri) else None,
    )


def _read_contents(uri: str, store: Store, *, whole: bool, by_content: bool) -> _Contents:
    contents = _Contents(uri)
    links: list[Member] = []
    try:
        with open_archive(uri, store) as file:
            headers = TarHeaders(file, HEAD_BYTES, says_nothing if by_content else None)
            for item in headers:
                if isinstance(item, Damage):
                    contents.damage.append(_described(item, uri))
                    if not whole:
                        break
                elif item.kind in (tarfile.LNKTYPE, tarfile.SYMTYPE):
                    contents.left_out.seen += 1
                    links.append(item)
                elif item.kind not in _WITHOUT_CONTENT:
                    contents.left_out.seen += 1
                    contents.add(item)
            contents.end_mark, contents.continued = headers.end_mark, headers.continued
    except NoTarError as error:
        contents.damage.append(str(error))
    except store_errors() as error:
        raise UserError(f"cannot read {redact(uri)}: {classify(error)[1]}") from None
    if links:
        _follow(links, contents, by_content=by_content)
    contents.leave_out_strangers()
    return contents


def _described(damage: Damage, uri: str) -> str:
    if damage.at == 0:
        kind = "readable tar file" if is_compressed(uri) else "readable, uncompressed tar file"
        return f"is not a {kind}: {damage.reason}"
    unpacked = " of what it unpacks to" if is_compressed(uri) else ""
    after = f", after {shown_name(damage.after)}" if damage.after else ""
    return f"is damaged at byte {damage.at}{unpacked}{after}: {damage.reason}"


def _follow(links: list[Member], contents: _Contents, *, by_content: bool) -> None:
    """Add a row for each link that leads to a regular member, over other links and linked folders, too.

    With `by_content` a link whose name says nothing is an image if what it leads to is one.
    """
    start, end = len("tar://"), -len(f"::{contents.uri}")
    files: dict[str, int] = {}
    for row, uri in enumerate(contents.uris):
        files.setdefault(_normal(uri[start:end]), row)
    targets: dict[str, str] = {}
    for link in links:
        name = _normal(_nameable(link.name))
        folder = posixpath.dirname(name) if link.kind == tarfile.SYMTYPE else ""
        targets[name] = _normal(posixpath.join(folder, _nameable(link.link)))
    for link in links:
        found = _file_behind(targets[_normal(_nameable(link.name))], files, targets)
        if found is None:
            contents.leave_out(LeftOutReason.LINK, link.name)
        else:
            is_image = not (by_content and says_nothing(link.name)) or not (
                found in contents.strangers or extension_of(contents.uris[found][start:end]) in OTHER_EXTENSIONS
            )
            contents.add_row(link.name, contents.offsets[found], contents.sizes[found], is_image=is_image)


def _file_behind(path: str, files: dict[str, int], targets: dict[str, str]) -> int | None:
    for _ in range(_MAX_LINKS):
        if path in files:
            return files[path]
        parts = path.split("/")
        heads = (("/".join(parts[:count]), parts[count:]) for count in range(1, len(parts) + 1))
        linked = next(((head, rest) for head, rest in heads if head in targets), None)
        if linked is None:
            return None
        path = _normal(posixpath.join(targets[linked[0]], *linked[1]))
    return None


def _normal(path: str) -> str:
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


def _account(contents: _Contents, reading: Reading) -> None:
    """Enter one tar file into the account; damage may end the reading."""
    reading.left_out.seen += contents.left_out.seen
    for reason, count in contents.left_out.counts.items():
        reading.left_out.add(reason, contents.left_out.places[reason], count)
    reading.left_out.add_extensions(contents.left_out.by_extension)
    if contents.damage:
        reading.damaged(redact(contents.uri), contents.damage[0], len(contents.damage))


def _table(contents: _Contents, etag: str | None) -> pa.Table:
    count = len(contents.uris)
    columns = [
        pa.array(contents.uris, pa.string()),
        pa.array(contents.sizes, pa.int64()),
        pa.array([etag] * count, pa.string()),
        pa.array([contents.uri] * count, pa.string()),
        pa.array(contents.offsets, pa.int64()),
        pa.nulls(count, pa.string()),
    ]
    return pa.table(columns, schema=ENTRY_SCHEMA)


def _count(uris: list[str]) -> str:
    return f"{len(uris)} tar file{'s' if len(uris) > 1 else ''}"
