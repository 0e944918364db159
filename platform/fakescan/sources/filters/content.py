"""Objects whose names do not say what they are: their first bytes do, as long as looking at them stays cheap."""

import time
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.sources.filters.name_filter import extensions_of, leave_out
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.prefixes import is_below, roots_of
from fakescan.storage.transport.base import Request
from fakescan.storage.transport.heads import read_heads
from fakescan.storage.url import redact, scheme_of
from fakevlm.errors import ImageError
from fakevlm.image_file.signature import identify

HEAD_BYTES = 512
"""Bytes that are read of an object. Signatures end sooner, but not those of an image that was packed."""

LOOKS_PER_KIND = 1_000
"""Looks at objects with one extension, or with none, after which it is asked whether more of them are of use."""

MAX_LOOKS = 20_000
"""Looks at the objects of one source: a request for a few bytes is cheap, but not free."""

MAX_LOCAL_LOOKS = 1_000_000
"""The same for local files, where a look costs a hundredth."""

LOOK_S = 60.0
"""Seconds of looking at one source. What was not looked at by then is a row, like all that cannot be looked at."""

_HEAD_OF_UNKNOWN = 64
"""Bytes that are read where the size is unknown: a store need not send what goes beyond the end."""

_SETTLED_SHARE = 0.9
_MAX_KINDS = 1_000
_FURTHER = "*"


class _Verdict(IntEnum):
    """What becomes of an object whose name says nothing."""

    NO_IMAGE = 0
    IMAGE = 1
    UNSEEN = 2
    """It is a row, and the scan tells."""
    LEFT_OUT = 3
    OUTSIDE = 4
    PENDING = 5


_REASONS = {
    _Verdict.NO_IMAGE: LeftOutReason.CONTENT,
    _Verdict.LEFT_OUT: LeftOutReason.UNKNOWN,
    _Verdict.OUTSIDE: LeftOutReason.OUTSIDE,
}


@dataclass(slots=True)
class _Kind:
    """The objects with one extension."""

    looks: int = 0
    rows: int = 0
    """Of those looked at, what became rows: images, and what could not be read."""
    settled: bool = False
    """Nearly all become rows, so that looking at more of them would spare little."""


class _Look(NamedTuple):
    row: int
    """Of the object in its table."""
    kind: _Kind
    request: Request


class ContentFilter:
    """Finds the images among the objects of one source whose names say nothing.

    Each is looked at, up to `LOOKS_PER_KIND` with the same extension or none. Where nearly all of those are images the
    others are rows without a look. Else the looking goes on, since a look costs less than a row that is no image, up
    to `MAX_LOOKS`. Beyond them objects without an extension are rows, and so are those with an extension that images
    were found with, and all where most names have no extension; the others are left out with a warning. What cannot
    be looked at is a row. All follows from the order of the objects, whatever tables they come in.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._roots = None if reading.allowed_prefixes is None else roots_of(reading.allowed_prefixes)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._kinds: dict[str, _Kind] = {}
        self._objects = self._without_extension = 0
        self._looks = self._read = self._images = self._failures = 0
        self._first_failure = ""
        self._seconds = 0.0
        self._counts = np.zeros(len(_Verdict), np.int64)

    def apply(self, table: pa.Table, unsaid: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the entries whose names say nothing become rows, and which of them are known to be images.

        The others are counted as left out. `table` holds all that was listed, which shows what names are usual there.
        """
        objects = self._objects + np.arange(1, table.num_rows + 1)
        self._objects += table.num_rows
        if not unsaid.any():
            return unsaid, unsaid
        some = table.filter(pa.array(unsaid))
        extensions: list[str] = extensions_of(some).to_pylist()
        without = self._without_extension + np.cumsum([not name for name in extensions])
        self._without_extension = int(without[-1])
        verdicts = self._verdicts(some, extensions, 2 * without > objects[unsaid])
        self._counts += np.bincount(verdicts, minlength=len(_Verdict))
        for verdict, reason in _REASONS.items():
            leave_out(some, verdicts != verdict, reason, self.reading.left_out)
        taken, known = unsaid.copy(), unsaid.copy()
        taken[unsaid] = (verdicts == _Verdict.IMAGE) | (verdicts == _Verdict.UNSEEN)
        known[unsaid] = verdicts == _Verdict.IMAGE
        return taken, known

    def close(self) -> None:
        """Say at the end of the listing what was decided by looking, and what without."""
        note, counts = self.reading.note, self._counts.tolist()
        found = f"of {self._read:,} that were looked at {self._images:,} are images"
        if counts[_Verdict.IMAGE]:
            note(f"taken by content: {_unsaid(counts[_Verdict.IMAGE])}")
        if self._failures:
            note(
                f"taken because a look at the content failed: {_unsaid(self._failures)}, such as {self._first_failure}"
            )
        if unseen := counts[_Verdict.UNSEEN] - self._failures:
            note(
                f"taken without a look at the content: {_unsaid(unseen)}; {found}, and "
                "what is none gets a row with an error: --extensions or --exclude leaves it out"
            )
        if counts[_Verdict.LEFT_OUT]:
            note(
                f"warning: images may be among {counts[_Verdict.LEFT_OUT]:,} objects with unknown extensions that were "
                f"left out without a look at their content; {found}: --extensions any takes every object"
            )

    def _verdicts(self, table: pa.Table, extensions: list[str], mostly_without: NDArray[np.bool_]) -> NDArray[np.int64]:
        verdicts = np.full(table.num_rows, _Verdict.PENDING, np.int64)
        pending: list[_Look] = []
        objects = zip(table["uri"].to_pylist(), table["size"].to_pylist(), extensions, strict=True)
        for index, (uri, size, extension) in enumerate(objects):
            if self._roots is not None and not is_below(uri, self._roots):
                verdicts[index] = _Verdict.OUTSIDE
                continue
            if size == 0:
                verdicts[index] = _Verdict.NO_IMAGE
                continue
            kind = self._kind(extension)
            if kind.looks and kind.looks % LOOKS_PER_KIND == 0 and not kind.settled:
                self._look(pending, verdicts)
                kind.settled = kind.rows >= _SETTLED_SHARE * kind.looks
            if not kind.settled and self._looks < (MAX_LOCAL_LOOKS if scheme_of(uri) == "file" else MAX_LOOKS):
                self._looks += 1
                kind.looks += 1
                length = min(size or _HEAD_OF_UNKNOWN, HEAD_BYTES)
                pending.append(_Look(index, kind, Request(uri, first=0, length=length)))
                continue
            if kind.settled or not extension:
                verdicts[index] = _Verdict.UNSEEN
                continue
            self._look(pending, verdicts)  # what was found decides
            is_row = kind.rows or mostly_without[index]
            verdicts[index] = _Verdict.UNSEEN if is_row else _Verdict.LEFT_OUT
        self._look(pending, verdicts)
        return verdicts

    def _kind(self, extension: str) -> _Kind:
        """The kind of an extension. Where very many are in use, those that come late are one kind together."""
        if extension and extension not in self._kinds and len(self._kinds) >= _MAX_KINDS:
            extension = _FURTHER
        return self._kinds.setdefault(extension, _Kind())

    def _look(self, pending: list[_Look], verdicts: NDArray[np.int64]) -> None:
        """Look at the objects that wait for it, and enter what they are."""
        if not pending:
            return
        started = time.monotonic()
        requests = [look.request for look in pending]
        heads = read_heads(requests, self.reading.store, seconds=LOOK_S - self._seconds)
        self._seconds += time.monotonic() - started
        for look, head in zip(pending, heads, strict=True):
            if isinstance(head, bytes):
                is_image = begins_as_image(head)
                self._read += 1
                self._images += is_image
                look.kind.rows += is_image
                verdicts[look.row] = _Verdict.IMAGE if is_image else _Verdict.NO_IMAGE
            else:
                self._first_failure = self._first_failure or f"{redact(look.request.uri)} ({head})"
                self._failures += 1
                look.kind.rows += 1
                verdicts[look.row] = _Verdict.UNSEEN
        pending.clear()


def _unsaid(count: int) -> str:
    if count == 1:
        return "1 object whose name does not say what it is"
    return f"{count:,} objects whose names do not say what they are"


def begins_as_image(head: bytes) -> bool:
    """Whether an object with these first bytes is an image that is read, perhaps packed by gzip.

    Stores keep images packed if they were sent with that Content-Encoding; fetching unpacks them.
    """
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head)
        except zlib.error:
            return False
    try:
        identify(head)
    except ImageError:
        return False
    return True
