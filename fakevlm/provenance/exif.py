"""The tags of an EXIF block, and the texts in them."""

from dataclasses import dataclass, field
from typing import Literal

from fakevlm.provenance.encoding import as_text, utf16_text

DESCRIPTION, MAKE, MODEL, SOFTWARE, ARTIST = 0x010E, 0x010F, 0x0110, 0x0131, 0x013B
USER_COMMENT, XP_TITLE, XP_COMMENT, XP_KEYWORDS = 0x9286, 0x9C9B, 0x9C9C, 0x9C9E
EXIF_IFD = 0x8769

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type (TIFF 6.0 and BigTIFF)."""
_KEPT = frozenset((DESCRIPTION, MAKE, MODEL, SOFTWARE, ARTIST, USER_COMMENT, XP_TITLE, XP_COMMENT, XP_KEYWORDS)) | {
    0x02BC,
    0x83BB,
    0x8649,
}
_MAX_ENTRIES = 1000
_MAX_VALUE = 1 << 20
_MAX_VALUES = 4 << 20
"""Bytes of all values. Those of a sound file do not overlap, so that there are no more than the block has."""
_CHARSETS = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"JIS\0\0\0\0\0": "jis", b"\0" * 8: "unknown"}
"""The eight bytes before a user comment (Exif 2.32, table 9). What follows is often in another encoding."""


@dataclass(slots=True)
class Tags:
    """Tags of the first directory and of its EXIF directory."""

    values: dict[int, bytes] = field(default_factory=dict)
    """The values that provenance is read from, at most `_MAX_VALUE` bytes of each."""
    numbers: set[int] = field(default_factory=set)
    """All tags there are."""
    cut: bool = False
    """Whether values were left out because there were too many bytes of them."""
    size: int = 0
    """Bytes of the values."""

    def text(self, tag: int) -> str:
        """A value as text, without the zeros that end it; "" where there is none."""
        value = self.values.get(tag, b"")
        if tag == USER_COMMENT:
            return _user_comment(value)
        if tag in (XP_TITLE, XP_COMMENT, XP_KEYWORDS):
            return _clean(utf16_text(value, "utf-16-le"))
        return _decoded(value)


def read_tags(data: bytes) -> Tags:
    """The tags of a TIFF structure; those before the damage where there is some. Never raises."""
    tags = Tags()
    if data[:2] not in (b"II", b"MM"):
        return tags
    reader = _Reader(data, "little" if data[:2] == b"II" else "big")
    magic = reader.number(2, 2)
    if magic == 43:
        reader.big = True
        first = reader.number(8, 8)
    else:
        first = reader.number(4, 4)
    _directory(reader, first, tags)
    return tags


class _Reader:
    def __init__(self, data: bytes, order: Literal["little", "big"]) -> None:
        self.data, self.order, self.big = data, order, False

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.data[at : at + size], self.order)


def _directory(reader: _Reader, at: int, tags: Tags, *, is_inner: bool = False) -> None:
    counted, entry = (8, 20) if reader.big else (2, 12)
    if at <= 0 or at + counted > len(reader.data):
        return
    count = min(reader.number(at, counted), _MAX_ENTRIES)
    at += counted
    for place in range(at, min(at + count * entry, len(reader.data) - entry + 1), entry):
        tag, kind = reader.number(place, 2), reader.number(place + 2, 2)
        if tag == EXIF_IFD and (is_inner or tag in tags.numbers):
            continue  # a directory that leads to itself
        tags.numbers.add(tag)
        if (tag not in _KEPT and tag != EXIF_IFD) or tag in tags.values:
            continue
        width = entry - 12 if reader.big else 4
        values = reader.number(place + 4, width)
        field_at = place + 4 + width
        if tag == EXIF_IFD:
            _directory(reader, reader.number(field_at, width), tags, is_inner=True)
            continue
        length = values * _SIZES.get(kind, 1)
        start = field_at if length <= width else reader.number(field_at, width)
        length = min(length, _MAX_VALUE, len(reader.data) - start)
        if tags.size + length > min(_MAX_VALUES, len(reader.data)):
            tags.cut = True
        elif length > 0:
            tags.size += length
            tags.values[tag] = reader.data[start : start + length]


def _user_comment(value: bytes) -> str:
    """Some writers leave out the eight bytes that say in what the text is encoded."""
    charset = _CHARSETS.get(value[:8])
    if charset is None:
        return _decoded(value)
    if charset == "jis":
        return _clean(value[8:].decode("iso2022_jp", errors="replace"))
    return _decoded(value[8:])


def _decoded(value: bytes) -> str:
    """Text in an encoding that is not said, or said wrongly: UTF-16, UTF-8 or Latin-1."""
    if value[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _clean(utf16_text(value, "utf-16"))
    # Latin letters in UTF-16 have a zero as every second byte, the first or the second of each pair.
    sample = value.rstrip(b"\0")[:2000]
    high, low = sample[::2].count(0), sample[1::2].count(0)
    if max(high, low) > len(sample) // 8:
        return _clean(utf16_text(value, "utf-16-be" if high >= low else "utf-16-le"))
    return _clean(as_text(value))


def _clean(text: str) -> str:
    return text.rstrip("\0").strip()
