"""The members of a tar file in their order, and the places where it is damaged."""

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fakescan.sources.containers.archive_file import ArchiveFile, BrokenStreamError

_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENSION_BYTES = 2**20
"""Longest long name or pax header, in bytes; a larger one is taken for damage."""

_SEARCH_BYTES = 2**16
_MAGIC = re.compile(rb"ustar[\0 ]")
_MAGIC_AT = 257
_GNU_MAGIC = b"ustar  \0"
_OCTAL = b"01234567 \0"
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_NO_DATA = (tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_PAX_LENGTH = re.compile(rb"(\d{1,10}) ")
_SHOWN = 100
_SPARSE = "GNU.sparse."


@dataclass(slots=True)
class Member:
    """One member: the type flag `kind`; first byte of `header` and data (`offset`), `size` of the data in bytes.

    The next header is due at `end`. Names that are not UTF-8 hold surrogate escapes. `head`: the first bytes of the
    data, where they were asked for.
    """

    kind: bytes
    name: str
    link: str
    sparse: bool
    header: int
    offset: int
    size: int
    end: int
    head: bytes | None = None


@dataclass(slots=True)
class Damage:
    """Damage at a byte of the tar file, behind the member called `after`."""

    at: int
    after: str | None
    reason: str


class _BadHeaderError(Exception):
    """No sound header at a byte. `search`: where one may come next. `orphan`: a header there has lost its name."""

    def __init__(self, at: int, reason: str, search: int, orphan: int = -1) -> None:
        super().__init__(reason)
        self.at, self.reason, self.search, self.orphan = at, reason, search, orphan


@dataclass
class TarHeaders:
    """Iterates over members and damage. After damage it goes on with the next sound header, wherever that begins.

    `tarfile` ends without a word at a bad header or an end mark, whatever is behind it. Of a regular member whose name
    `looks_into` wants it, `head_bytes` are read along with the header, mostly with no further request.
    """

    file: ArchiveFile
    head_bytes: int = 0
    looks_into: Callable[[str], bool] | None = None
    end_mark: bool = False
    """Whether the file ends in zeros, as it should."""
    continued: bool = False
    """Whether members come behind an end mark, as in tar files that were joined by `cat`."""
    _global: dict[str, bytes] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Member | Damage]:
        """A member is handed out once what follows it is known: if its data hold the next header it is damage."""
        last: Member | None = None
        before: str | None = None
        after: str | None = None
        at, orphan = 0, -1
        try:
            while True:
                start, at = at, self._after_zeros(at)
                zeros = at - start
                if not self.file.reaches(at + 1):
                    if at == 0:
                        yield Damage(0, None, "it is empty")
                    self.end_mark = zeros >= _BLOCK
                    break
                try:
                    member = self._member(at)
                except _BadHeaderError as bad:
                    reason = "neither zeros nor a header behind the end mark" if zeros > _BLOCK else bad.reason
                    found = None
                    if last is not None and zeros <= _BLOCK and self._may_hide_headers(last):
                        found = self._next_header(last.offset, at, last.end)
                    if last is not None and found is not None:
                        yield Damage(last.header, before, f"{shown_name(last.name)} does not end where its header says")
                    else:
                        if last is not None:
                            yield last
                        yield Damage(start if zeros == _BLOCK else bad.at, after, reason)
                        found = self._next_header(bad.search, at)
                    last = None
                    self.end_mark = True  # what the damage hides is not known
                    if found is None:
                        return
                    at, orphan = found, bad.orphan
                    continue
                self.continued = self.continued or zeros > _BLOCK
                if last is not None:
                    yield last
                if zeros == _BLOCK:
                    yield Damage(start, after, "a block of zeros where a header is due")
                last = None if member.header == orphan else member
                before, after, at, orphan = after, member.name, member.end, -1
        except BrokenStreamError as error:
            if last is not None:
                yield last
            self.end_mark = True
            yield Damage(self.file.position, after, f"it cannot be unpacked any further: {error}")
            return
        if last is not None:
            yield last

    def _may_hide_headers(self, member: Member) -> bool:
        """Whether headers found in its data are those of the next members, because blocks are missing."""
        return self.file.size is not None and member.end > member.offset and ".tar" not in member.name.lower()

    def _after_zeros(self, at: int) -> int:
        while (block := self.file.read(at, _BLOCK))[:1] == b"\0" and not block.strip(b"\0"):
            at += len(block)
        return at

    def _member(self, at: int) -> Member:
        """The member whose header, or the first of its several headers, is at this byte."""
        first = at
        pax = self._global
        while True:
            block = self.file.read(at, _BLOCK)
            if len(block) < _BLOCK:
                raise _BadHeaderError(at, "it ends within a header", at + _BLOCK)
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise _BadHeaderError(at, _reason(block, error), at + 1) from None
            if info.size < 0:
                raise _BadHeaderError(at, f"a size of {info.size} bytes", at + _BLOCK)
            offset = at + _BLOCK
            if info.type in _LONG:
                name = self._extension(at, info).partition(b"\0")[0]
                pax = {**pax, _LONG[info.type]: name}
            elif info.type in _PAX:
                records = self._pax(at, info)
                if info.type == tarfile.XGLTYPE:
                    self._global = {**self._global, **records}
                pax = {**pax, **records}
            else:
                break
            at = offset + _padded(info.size)
            if info.type == tarfile.XGLTYPE and first == offset - _BLOCK:
                return Member(tarfile.XGLTYPE, "", "", False, first, offset, info.size, at)
        if block[_MAGIC_AT : _MAGIC_AT + 8] == _GNU_MAGIC:  # times are there where others have the folder
            info.name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        size = pax.get("size", b"0")
        if not (size.isdigit() and len(size) < 20):
            raise _BadHeaderError(first, "a pax header with a size that is no number", at + 1)
        if pax:
            info.name = _text(pax, f"{_SPARSE}name") or _text(pax, "path") or info.name
            info.linkname = _text(pax, "linkpath") or info.linkname
            info.size = int(size) if "size" in pax else info.size
        return self._placed(info, any(key.startswith(_SPARSE) for key in pax), first, offset, block)

    def _placed(self, info: tarfile.TarInfo, sparse: bool, first: int, offset: int, block: bytes) -> Member:
        """The member, once it is sure that its data are there."""
        kind, size = info.type, info.size
        if kind == tarfile.GNUTYPE_SPARSE:
            sparse, more = True, block[482]
            while more:
                extension = self.file.read(offset, _BLOCK)
                if len(extension) < _BLOCK:
                    raise _BadHeaderError(first, f"{shown_name(info.name)} is cut off", offset)
                offset, more = offset + _BLOCK, extension[504]
        if kind == tarfile.LNKTYPE and size and self._has_data(offset, size):
            kind = tarfile.REGTYPE
        head = None
        if kind in tarfile.REGULAR_TYPES and not sparse and self.looks_into is not None and self.looks_into(info.name):
            head = self.file.read(offset, min(size, self.head_bytes))  # a stream is at the end of the data soon
        if kind in _NO_DATA or kind == tarfile.LNKTYPE:
            size = 0
        elif not self.file.reaches(offset + size):
            raise _BadHeaderError(first, f"{shown_name(info.name)} is cut off", offset)
        if size == 0 and info.name.endswith("/") and kind in tarfile.REGULAR_TYPES:  # so were folders written once
            kind = tarfile.DIRTYPE
        return Member(kind, info.name, info.linkname, sparse, first, offset, size, offset + _padded(size), head)

    def _has_data(self, offset: int, size: int) -> bool:
        """Whether a hard link with a size has data (POSIX allows it); most writers give the size of the target."""
        if self._begins_here(offset):
            return False
        return self.file.size is None or self._begins_here(offset + _padded(size))

    def _begins_here(self, at: int) -> bool:
        block = self.file.read(at, _BLOCK)
        return not block.strip(b"\0") or _is_header(block)

    def _extension(self, at: int, info: tarfile.TarInfo) -> bytes:
        offset = at + _BLOCK
        if info.size > _MAX_EXTENSION_BYTES:
            raise _BadHeaderError(at, f"a header of {info.size} bytes", offset)
        data = self.file.read(offset, info.size)
        if len(data) < info.size:
            raise _BadHeaderError(at, "it ends within a header", offset)
        return data

    def _pax(self, at: int, info: tarfile.TarInfo) -> dict[str, bytes]:
        """The records of a pax header, `LENGTH KEY=VALUE` on a line each. `tarfile` ignores those that are damaged."""
        data = self._extension(at, info)
        records: dict[str, bytes] = {}
        start = 0
        while start < len(data) and data[start]:  # some writers fill up with zeros
            length = _PAX_LENGTH.match(data, start)
            end = start + int(length.group(1)) if length else 0
            key, equals, value = data[length.end() : end - 1].partition(b"=") if length else (b"", b"", b"")
            if not (key and equals) or data[end - 1 : end] != b"\n":
                missing = _is_header(data[:_BLOCK])  # the next header is where the records should be
                following = at + _BLOCK + (0 if missing else _padded(info.size))
                raise _BadHeaderError(at, "a damaged pax header", following, following)
            records[key.decode("utf-8", "replace")] = value
            start = end
        return records

    def _next_header(self, start: int, aligned: int, stop: int | None = None) -> int | None:
        """The first sound header that begins from `start` on, and before `stop`.

        One with a magic number may be anywhere, one without must be a number of blocks away from `aligned`.
        """
        start = max(start, self.file.first)
        while len(data := self.file.read(start, _SEARCH_BYTES)) >= _BLOCK:
            last = len(data) - _BLOCK
            places = {match.start() - _MAGIC_AT for match in _MAGIC.finditer(data)}
            for at in range((aligned - start) % _BLOCK, last + 1, _BLOCK):
                if not data[at + 148 : at + 156].translate(None, _OCTAL):
                    places.add(at)
            for at in sorted(places):
                if 0 <= at <= last and _is_header(data[at : at + _BLOCK]):
                    return start + at if stop is None or start + at < stop else None
            start += last + 1
            if stop is not None and start >= stop:
                return None
        return None


def shown_name(name: str) -> str:
    """The name of a member as it may stand in a line for people: printable, and not too long."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable if len(printable) <= _SHOWN else f"{printable[: _SHOWN // 2]}…{printable[-_SHOWN // 2 :]}"


def _is_header(block: bytes) -> bool:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size >= 0
    except tarfile.HeaderError:
        return False


def _reason(block: bytes, error: tarfile.HeaderError) -> str:
    if not block.strip(b"\0"):
        return "a long name or pax header that belongs to no member"
    return "no sound header" if str(error) == "bad checksum" else "a header with nonsense in it"


def _text(pax: dict[str, bytes], key: str) -> str:
    return pax.get(key, b"").decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
