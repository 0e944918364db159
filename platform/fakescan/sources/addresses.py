"""From what a list says to manifest entries: addresses made absolute, and those that cannot be one counted."""

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.containers.container_address import Containers
from fakescan.sources.kept_columns import kept_array
from fakescan.sources.listing import local_uri
from fakescan.sources.manifest import conform
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.storage.url import file_path, redact, scheme_of

MAX_ADDRESS = 8_192
"""Bytes of an address."""

_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*://"
_DRIVE = r"^[A-Za-z]:(\\|/[^/])|^\\\\"
_DATA_URI = r"^(?i:data:(image|application|text|;base64)[^,]{0,200},)"
_BASE64 = r"^(/9j/[A-Za-z0-9+/]{4}|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/=\s]{200,}$"
_INLINE = f"{_DATA_URI}|{_BASE64}"
_MAX_SIZE = 2**63 - 1


class AddressEntries:
    """Makes entries of the records of one list.

    Every record is counted as seen. `unit`: what the numbers count, for messages. `stay`: refuse addresses in another
    kind of store than the list's own.
    """

    def __init__(self, url: str, unit: str, reading: Reading, *, stay: bool = False) -> None:
        self.base, self.name, self.unit, self.reading = folder_of(url), redact(url), unit, reading
        self.ignored_sizes = 0
        self._scheme = scheme_of(url)
        self._stay = stay
        self._containers = Containers(reading)

    def place(self, number: int) -> str:
        """A record's place for messages."""
        return f"{self.name} {self.unit} {number}"

    def of(
        self,
        values: "Sequence[object] | pa.Array",
        numbers: Sequence[int],
        sizes: Sequence[object] | None = None,
        own: dict[str, pa.Array] | None = None,
        kept: "pa.Array | pa.ChunkedArray | None" = None,
    ) -> pa.Table:
        """Entries in `ENTRY_SCHEMA` of records with these addresses, of which some may be null or no text.

        `numbers`: of the records. `sizes`: what a column says of the objects' sizes; `own`: columns of our manifest;
        `kept`: what `kept` returns.
        """
        self.reading.left_out.seen += len(values)
        texts, unreadable = self._texts(values)
        uris = pc.utf8_trim_whitespace(pc.fill_null(texts, ""))
        missing = pc.and_not(pc.equal(uris, ""), unreadable)
        inline = _no(len(uris))
        bad = pc.and_not(pc.greater(pc.binary_length(uris), MAX_ADDRESS), pc.starts_with(uris, "tar://"))
        bad = pc.or_(pc.or_(bad, unreadable), pc.match_substring(uris, "\0"))
        with_scheme = pc.match_substring_regex(uris, _SCHEME)
        if not pc.all(with_scheme).as_py():  # else none of this is needed, which is half of the work
            inline = pc.match_substring_regex(uris, _INLINE)
            bad = pc.or_(bad, pc.match_substring_regex(uris, _DRIVE))
        if self._stay:
            strange = [bool(uri) and scheme_of(uri) != self._scheme for uri in uris.to_pylist()]
            absolute = pc.or_(with_scheme, pc.starts_with(uris, "/"))
            bad = pc.or_(bad, pc.and_(absolute, pa.array(strange, pa.bool_())))
        if own is not None:
            bad = pc.or_(bad, _misplaced(own))
        bad = pc.and_not(bad, pc.or_(missing, inline))
        uris = self._absolute(uris, with_scheme)
        for reason, mask in (
            (LeftOutReason.NO_ADDRESS, missing),
            (LeftOutReason.INLINE, inline),
            (LeftOutReason.BAD_ADDRESS, bad),
        ):
            if count := pc.sum(mask).as_py():
                self.reading.left_out.add(reason, self.place(numbers[pc.index(mask, True).as_py()]), count)
        columns: dict[str, Any] = {"uri": uris, **(own or {})}
        if sizes is not None:
            columns["size"] = self._sizes(sizes)
        if kept is not None:
            columns["kept"] = kept
        keep = pc.invert(pc.or_(pc.or_(missing, inline), bad))
        table = conform(pa.table(columns)).filter(keep)
        if own is not None:
            return table
        return self._containers.resolve(table, lambda index: self.place(numbers[_nth(keep, index)]))

    def kept(self, texts: Sequence[str], numbers: Sequence[int]) -> pa.Array:
        """The manifest's column of kept values of the records with these numbers, from `kept_texts`."""
        return kept_array(texts, self.reading, lambda index: self.place(numbers[index]))

    def _absolute(self, uris: pa.Array, with_scheme: pa.Array) -> pa.Array:
        if pc.all(with_scheme).as_py():
            return uris
        relative = pc.replace_substring_regex(uris, r"^(\./)+", "")
        absolute = pc.or_(with_scheme, pc.starts_with(uris, "/"))
        return pc.if_else(absolute, uris, pc.binary_join_element_wise(pa.scalar(self.base), relative, ""))

    def _texts(self, values: "Sequence[object] | pa.Array") -> tuple[pa.Array, pa.Array]:
        """The addresses as text, and which of them are no text. Names of files need not be UTF-8: they become URLs."""
        if not isinstance(values, pa.Array):
            try:
                return pa.array(values, pa.string()), _no(len(values))
            except (pa.ArrowException, ValueError, TypeError):
                pass
        elif not pa.types.is_binary(values.type):
            return values, _no(len(values))
        texts: list[str | None] = []
        unreadable: list[bool] = []
        for value in values.to_pylist() if isinstance(values, pa.Array) else values:
            text = self._text(value)
            texts.append(text)
            unreadable.append(text is None and value is not None)
        return pa.array(texts, pa.string()), pa.array(unreadable, pa.bool_())

    def _text(self, value: object) -> str | None:
        if isinstance(value, bytes):
            value = value.decode(errors="surrogateescape")
        if not isinstance(value, str):
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            return self._file_url(value.strip())
        return value

    def _file_url(self, value: str) -> str | None:
        whole = value if re.match(_SCHEME + "|^/", value) else self.base + value
        if scheme_of(whole) != "file" or "\0" in whole:
            return None
        try:
            return local_uri(file_path(whole))
        except UnicodeEncodeError:  # surrogates that stand for no byte
            return None

    def _sizes(self, values: Sequence[object]) -> pa.Array:
        sizes = [_size(value) for value in values]
        for value, size in zip(values, sizes, strict=True):
            if size is None and value is not None and str(value).strip():
                self.ignored_sizes += 1
        return pa.array(sizes, pa.int64())

    def close(self) -> None:
        """Say at the end of the list what of it was ignored."""
        if self.ignored_sizes:
            self.reading.note(
                f"{self.ignored_sizes:,} values of column {self.reading.size_column!r} are no sizes in bytes: ignored"
            )


def folder_of(url: str) -> str:
    """The folder that relative addresses in a list are relative to, with a slash at its end."""
    path = url.partition("?")[0] if scheme_of(url) == "http" else url
    return path.rpartition("/")[0] + "/" if "/" in path else "./"


def _misplaced(own: dict[str, pa.Array]) -> pa.Array:
    """Rows of a manifest with a place in a container, or a size, that cannot be one."""
    nowhere = pc.and_(own["object"].is_valid(), pc.less(pc.fill_null(own["offset"], -1), 0))
    return pc.or_(nowhere, pc.less(pc.fill_null(own["size"], 0), 0))


def _no(count: int) -> pa.Array:
    return pa.repeat(pa.scalar(False), count)


def _nth(mask: pa.Array, index: int) -> int:
    """Index of the `index`-th true value."""
    return int(pc.indices_nonzero(mask)[index].as_py())


def _size(value: object) -> int | None:
    """Whole bytes, from numbers and from text of digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if value.strip().isascii() and value.strip().isdigit() and len(value) < 40 else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and 0 <= value <= _MAX_SIZE else None
