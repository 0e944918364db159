"""TIFF files that Pillow refuses although their pixels are there: odd tags, and sample layouts missing in its table."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.repair import Repair

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""TIFF type to bytes of a value."""
_WORDS = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""Integer types, and how struct calls them."""
_BYTES = (1, 2, 7)
"""Types whose values Pillow leaves as they are: bytes or text."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _ORIENTATION = 256, 257, 258, 259, 262, 273, 274
_FILL_ORDER, _BANDS, _STRIP_ROWS, _STRIP_SIZES, _PLANES, _TILES, _SAMPLE_FORMAT = 266, 277, 278, 279, 284, 324, 339
_PIXEL_TAGS = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS, _ORIENTATION, _BANDS, _STRIP_ROWS,
     _STRIP_SIZES, 281, _PLANES, 292, 293, 317, 320, 322, 323, _TILES, 325, 332, 338, _SAMPLE_FORMAT, 347, 512, 513,
     514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532)
)  # fmt: skip
"""Tags that bear on how the pixels are stored, coded and turned."""
_MAX_ENTRIES = 4096
_MAX_LISTED = 1 << 16
"""Entries of a directory that Pillow may have to go through: all that a TIFF can have that is no BigTIFF."""
_MAX_VALUES = 1 << 18
"""Values under a tag that says how pixels are stored: strips of one row in the tallest image known are fewer."""
_RESOLUTION = frozenset((282, 283, 296))
"""Other tags whose values Pillow takes apart when it opens a file."""
_DIRECTORIES = frozenset((34665, 34853, 40965))
"""Tags that say where directories are of which Pillow takes all values apart: EXIF, GPS and interoperability."""
_BLOCK = 1 << 18
"""Samples that are widened at a time."""


class _Entry(NamedTuple):
    type: int
    length: int
    raw: bytes | memoryview
    order: str

    @property
    def values(self) -> tuple[int, ...]:
        """Its integers; () for other types."""
        word = _WORDS.get(self.type)
        if word is None:
            return tuple(self.raw) if _SIZES[self.type] == 1 else ()
        return struct.unpack(f"{self.order}{self.length}{word}", self.raw)

    def written(self, order: str) -> bytes | memoryview:
        """The bytes of its values in another byte order."""
        size = {5: 4, 10: 4}.get(self.type, _SIZES[self.type])
        if order == self.order or size == 1:
            return self.raw
        return np.frombuffer(self.raw, f"u{size}").byteswap().tobytes()


def check(data: bytes) -> None:
    """Raises ImageError where to open the file would take seconds and gigabytes, for what lists of values it has."""
    order, big = _byte_order(data)
    try:
        _check_pixel_tags(data, order, big)
        _check_metadata(data, order, big)
    except (struct.error, ValueError):
        return  # Pillow says what is wrong with it


def _check_pixel_tags(data: bytes, order: str, big: bool) -> None:
    _, number = _directory(data, order, big)
    if number > _MAX_LISTED:
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"TIFF: a directory of {number} tags is not supported")
    for each in _listed(data, order, big):
        if each.tag in _PIXEL_TAGS:
            _check_length(data, each)


def _check_metadata(data: bytes, order: str, big: bool) -> None:
    for each in _listed(data, order, big):
        if each.tag in _RESOLUTION:
            _check_length(data, each)
        elif each.tag in _DIRECTORIES and each.type in _WORDS and each.place + each.size <= len(data):
            (at,) = struct.unpack_from(order + _WORDS[each.type], data, each.place)
            inner = _listed(data, order, big, at) if 0 < at < len(data) else ()
            values = sum(entry.length for entry in inner if entry.size and entry.type not in _BYTES)
            if values > _MAX_VALUES:
                raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"TIFF: {values} values of metadata are not supported")


def _check_length(data: bytes, entry: "_Listed") -> None:
    if entry.length > _MAX_VALUES and entry.size and entry.place + entry.size <= len(data):
        message = f"TIFF: {entry.length} values of tag {entry.tag} are not supported"
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, message)


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The file with a new directory at its end: of the first page, and of the tags that bear on pixels.

    It says what Pillow knows of the same samples: greyscale that counts from white is declared as counting from black,
    twelve-bit samples, which have no byte order, as little-endian, others of 9 to 15 bits are widened to 16, and of 16
    bits in separate planes, which Pillow takes for eight, the upper eight are kept.
    """
    order, big = _byte_order(data)
    _check_pixel_tags(data, order, big)
    entries = dict(_entries(data, order, big))
    if _STRIPS not in entries and _TILES not in entries:
        raise ImageError(ErrorCode.TRUNCATED, "TIFF: the file does not say where its pixels are")
    if set(_values(entries, _SAMPLE_FORMAT)) == {4}:
        del entries[_SAMPLE_FORMAT]  # "undefined" is to be read as unsigned
    if _values(entries, _ORIENTATION) not in [(turn,) for turn in range(1, 9)]:
        entries.pop(_ORIENTATION, None)
    bits = _values(entries, _BITS)
    white_is_zero = _values(entries, _PHOTOMETRIC) == (0,) and len(bits) == 1 and bits[0] > 8
    if white_is_zero:
        entries[_PHOTOMETRIC] = _numbers([1], order)
    if len(bits) == 1 and 8 < bits[0] < 16 and bits[0] != 12:
        data = _widen(data, entries, bits[0], order, max_pixels)
    if set(bits) == {16} and _values(entries, _PLANES) == (2,) and _values(entries, _COMPRESSION) == (1,):
        data = _upper_bytes(data, entries, order)
    yield Repair(_rewritten(data, entries, "<" if bits == (12,) else order, big), white_is_zero=white_is_zero)


def layout(data: bytes) -> tuple[int, int, int]:
    """(width, height, number of strips or tiles) of the first page by its tags.

    Raises ValueError or struct.error where they do not say.
    """
    entries = dict(_entries(data, *_byte_order(data)))
    if any(tag in entries and entries[tag].length != 1 for tag in (_WIDTH, _HEIGHT)):
        raise ValueError("an image has one width and one height")
    (width,), (height,) = (_values(entries, tag) for tag in (_WIDTH, _HEIGHT))
    return width, height, max((entries[tag].length for tag in (_STRIPS, _TILES) if tag in entries), default=0)


def _byte_order(data: bytes) -> tuple[str, bool]:
    """struct's letter for the byte order, and whether the file is a BigTIFF."""
    return "<" if data[:2] == b"II" else ">", data[2:4] in (b"\x2b\0", b"\0\x2b")


def _values(entries: dict[int, _Entry], tag: int) -> tuple[int, ...]:
    return entries[tag].values if tag in entries else ()


def _numbers(values: list[int], order: str) -> _Entry:
    return _Entry(4, len(values), struct.pack(f"{order}{len(values)}I", *values), order)


def _widen(data: bytes, entries: dict[int, _Entry], bits: int, order: str, max_pixels: int) -> bytes:
    """`data` with the samples as 16 bits at its end, and `entries` saying so. Raises ValueError for what is compressed.

    As everywhere in TIFF, rows begin at a byte, and samples with their highest bit.
    """
    (width,), (height,), (rows,) = (
        _values(entries, tag) or default for tag, default in ((_WIDTH, ()), (_HEIGHT, ()), (_STRIP_ROWS, (1 << 32,)))
    )
    if width * height > max_pixels:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, f"{width} x {height} pixels are more than {max_pixels}")
    if any((_values(entries, tag) or (1,)) != (1,) for tag in (_COMPRESSION, _BANDS, _FILL_ORDER)):
        raise ValueError(f"compressed samples of {bits} bits are not supported")
    strips = np.asarray(_values(entries, _STRIPS), np.int64)
    wide = [block.astype(f"{order}u2").tobytes() for block in _widened(data, strips, width, height, rows, bits)]
    entries |= {
        _BITS: _numbers([16], order), _STRIPS: _numbers([len(data)], order), _STRIP_ROWS: _numbers([height], order),
        _STRIP_SIZES: _numbers([2 * width * height], order),
    }  # fmt: skip
    return b"".join((data, *wide))


def _widened(
    data: bytes, strips: npt.NDArray[np.int64], width: int, height: int, rows: int, bits: int
) -> Iterator[npt.NDArray[np.uint32]]:
    """Samples of 16 bits, in order, of strips of so many `rows`. Raises ValueError for rows that are not in `data`."""
    if min(width, height, rows) < 1 or len(strips) * rows < height:
        raise ValueError("the strips do not make up the image")
    packed, row_bytes, rows = np.frombuffer(data, np.uint8), -(-width * bits // 8), min(rows, height)
    at_a_time = max(1, _BLOCK // width)
    for top in range(0, height, at_a_time):
        row = np.arange(top, min(height, top + at_a_time))
        starts = strips[row // rows] + row % rows * row_bytes
        if starts.min() < 0 or int(starts.max()) + row_bytes > len(data):
            raise ValueError("the file ends before the image does")
        for left in range(0, width, _BLOCK):
            bit = np.arange(left, min(width, left + _BLOCK)) * bits
            places, shift = starts[:, None] + bit // 8, (24 - bits - bit % 8).astype(np.uint32)
            three = [packed[np.minimum(places + more, len(data) - 1)].astype(np.uint32) for more in range(3)]
            samples = (three[0] << 16 | three[1] << 8 | three[2]) >> shift
            yield samples << (16 - bits) & 0xFFFF


def _upper_bytes(data: bytes, entries: dict[int, _Entry], order: str) -> bytes:
    """`data` with the upper bytes of 16-bit samples at its end, and `entries` saying so."""
    strips, places = [], []
    end = len(data)
    sizes = _values(entries, _STRIP_SIZES)
    if sum(sizes) > len(data):
        raise ValueError("the strips overlap, or the file ends before them")
    for start, size in zip(_values(entries, _STRIPS), sizes, strict=True):
        strips.append(data[start : start + size][order == "<" :: 2])
        places.append(end)
        end += len(strips[-1])
    entries |= {
        _BITS: _numbers([8] * len(_values(entries, _BITS)), order), _STRIPS: _numbers(places, order),
        _STRIP_SIZES: _numbers([len(strip) for strip in strips], order),
    }  # fmt: skip
    return data + b"".join(strips)


class _Listed(NamedTuple):
    """An entry of a directory, and where its values are."""

    tag: int
    type: int
    length: int
    place: int
    size: int
    """Bytes; 0 for an unknown type."""


def _directory(data: bytes, order: str, big: bool, at: int | None = None) -> tuple[int, int]:
    """Where the entries of the directory at this place, or the first one, begin, and how many it says it has."""
    offset, count = ("Q", "Q") if big else ("I", "H")
    if at is None:
        (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    if at > len(data):
        raise ValueError("the directory is not in the file")
    (number,) = struct.unpack_from(order + count, data, at)
    return at + struct.calcsize(order + count), number


def _listed(data: bytes, order: str, big: bool, directory: int | None = None) -> Iterator[_Listed]:
    """The entries of the directory at this place, or the first one."""
    offset, entry = ("Q", "HHQ8s") if big else ("I", "HHI4s")
    step, width = struct.calcsize(order + entry), struct.calcsize(order + offset)
    start, number = _directory(data, order, big, directory)
    for at in range(start, min(start + min(number, _MAX_ENTRIES) * step, len(data) - step + 1), step):
        tag, kind, length, inline = struct.unpack_from(order + entry, data, at)
        size = _SIZES.get(kind, 0) * length
        place = struct.unpack(order + offset, inline)[0] if size > width else at + step - width
        yield _Listed(tag, kind, length, place, size)


def _entries(data: bytes, order: str, big: bool) -> Iterator[tuple[int, _Entry]]:
    """The pixel tags of the first directory that lie within the file, the first of each number."""
    whole = memoryview(data)
    seen = set()
    for tag, kind, length, place, size in _listed(data, order, big):
        if tag not in _PIXEL_TAGS or tag in seen or not size:
            continue
        if place + size <= len(data):
            seen.add(tag)
            yield tag, _Entry(kind, length, whole[place : place + size], order)
        elif tag in (_BITS, _STRIPS, _TILES):
            raise ImageError(ErrorCode.TRUNCATED, f"TIFF: the file ends before the values of tag {tag}")


def _rewritten(data: bytes, entries: dict[int, _Entry], order: str, big: bool) -> bytes:
    place, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    width = struct.calcsize(order + place)
    body = bytearray(data)
    body += b"\0" * (-len(body) % 8)
    directory = struct.pack(order + count, len(entries))
    for tag, item in sorted(entries.items()):
        raw = bytes(item.written(order))
        if len(raw) > width:
            start = len(body)
            body += raw + b"\0" * (-len(raw) % 8)
            raw = struct.pack(order + place, start)
        directory += struct.pack(order + entry, tag, item.type, item.length) + raw.ljust(width, b"\0")
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(f"{order}HHH", 43, 8, 0) if big else struct.pack(f"{order}H", 42)
    header = mark + version + struct.pack(order + place, len(body))
    body[: len(header)] = header
    return bytes(body + directory + bytes(width))
