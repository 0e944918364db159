"""TIFF files that Pillow refuses although their pixels are there: odd tags, and sample layouts missing in its table."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.repair import Repair

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""TIFF type to bytes of a value."""
_WORDS = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""Integer types, and how struct calls them."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS, _ORIENTATION = 256, 257, 258, 259, 262, 273, 274
_FILL_ORDER, _BANDS, _STRIP_ROWS, _STRIP_SIZES, _PLANES, _TILES, _SAMPLE_FORMAT = 266, 277, 278, 279, 284, 324, 339
_PIXEL_TAGS = frozenset(
    (_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS, _ORIENTATION, _BANDS, _STRIP_ROWS,
     _STRIP_SIZES, 281, _PLANES, 292, 293, 317, 320, 322, 323, _TILES, 325, 332, 338, _SAMPLE_FORMAT, 347, 512, 513,
     514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532)
)  # fmt: skip
"""Tags that bear on how the pixels are stored, coded and turned."""
_MAX_ENTRIES = 4096


class _Entry(NamedTuple):
    type: int
    length: int
    raw: bytes
    order: str

    @property
    def values(self) -> tuple[int, ...]:
        """Its integers; () for other types."""
        word = _WORDS.get(self.type)
        if word is None:
            return tuple(self.raw) if _SIZES[self.type] == 1 else ()
        return struct.unpack(f"{self.order}{self.length}{word}", self.raw)

    def written(self, order: str) -> bytes:
        """The bytes of its values in another byte order."""
        size = {5: 4, 10: 4}.get(self.type, _SIZES[self.type])
        if order == self.order or size == 1:
            return self.raw
        return b"".join(self.raw[at : at + size][::-1] for at in range(0, len(self.raw), size))


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The file with a new directory at its end: of the first page, and of the tags that bear on pixels.

    It says what Pillow knows of the same samples: greyscale that counts from white is declared as counting from black,
    twelve-bit samples, which have no byte order, as little-endian, others of 9 to 15 bits are widened to 16, and of 16
    bits in separate planes, which Pillow takes for eight, the upper eight are kept.
    """
    order, big = _byte_order(data)
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


def size(data: bytes) -> tuple[int, int]:
    """(width, height) of the first page by its tags. Raises ValueError or struct.error where they do not say."""
    entries = dict(_entries(data, *_byte_order(data)))
    (width,), (height,) = (_values(entries, tag) for tag in (_WIDTH, _HEIGHT))
    return width, height


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
    wide = []
    row_bytes, weights = -(-width * bits // 8), 1 << np.arange(15, 15 - bits, -1)
    for number, start in enumerate(_values(entries, _STRIPS)):
        count = min(rows, height - number * rows)
        for row in range(count):
            packed = np.frombuffer(data[start + row * row_bytes : start + (row + 1) * row_bytes], np.uint8)
            samples = np.unpackbits(packed)[: width * bits].reshape(width, bits) @ weights
            wide.append(samples.astype(f"{order}u2").tobytes())
    entries |= {
        _BITS: _numbers([16], order), _STRIPS: _numbers([len(data)], order), _STRIP_ROWS: _numbers([height], order),
        _STRIP_SIZES: _numbers([2 * width * height], order),
    }  # fmt: skip
    return data + b"".join(wide)


def _upper_bytes(data: bytes, entries: dict[int, _Entry], order: str) -> bytes:
    """`data` with the upper bytes of 16-bit samples at its end, and `entries` saying so."""
    strips, places = [], []
    end = len(data)
    for start, size in zip(_values(entries, _STRIPS), _values(entries, _STRIP_SIZES), strict=True):
        strips.append(data[start : start + size][order == "<" :: 2])
        places.append(end)
        end += len(strips[-1])
    entries |= {
        _BITS: _numbers([8] * len(_values(entries, _BITS)), order), _STRIPS: _numbers(places, order),
        _STRIP_SIZES: _numbers([len(strip) for strip in strips], order),
    }  # fmt: skip
    return data + b"".join(strips)


def _entries(data: bytes, order: str, big: bool) -> Iterator[tuple[int, _Entry]]:
    """The pixel tags of the first directory that lie within the file, the first of each number."""
    place, count, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    (at,) = struct.unpack_from(order + place, data, 8 if big else 4)
    (number,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(order + count)
    seen = set()
    for _ in range(min(number, _MAX_ENTRIES)):
        if at + struct.calcsize(order + entry) > len(data):
            return
        tag, kind, length, inline = struct.unpack_from(order + entry, data, at)
        at += struct.calcsize(order + entry)
        size = _SIZES.get(kind, 0) * length
        if tag not in _PIXEL_TAGS or tag in seen or not size:
            continue
        start = struct.unpack(order + place, inline)[0] if size > len(inline) else 0
        raw = data[start : start + size] if size > len(inline) else inline[:size]
        if len(raw) == size:
            seen.add(tag)
            yield tag, _Entry(kind, length, raw, order)
        elif tag in (_BITS, _STRIPS, _TILES):
            raise ImageError(ErrorCode.TRUNCATED, f"TIFF: the file ends before the values of tag {tag}")


def _rewritten(data: bytes, entries: dict[int, _Entry], order: str, big: bool) -> bytes:
    place, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    width = struct.calcsize(order + place)
    body = data + b"\0" * (-len(data) % 8)
    directory = struct.pack(order + count, len(entries))
    for tag, item in sorted(entries.items()):
        raw = item.written(order)
        if len(raw) > width:
            start = len(body)
            body += raw + b"\0" * (-len(raw) % 8)
            raw = struct.pack(order + place, start)
        directory += struct.pack(order + entry, tag, item.type, item.length) + raw.ljust(width, b"\0")
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(f"{order}HHH", 43, 8, 0) if big else struct.pack(f"{order}H", 42)
    header = mark + version + struct.pack(order + place, len(body))
    return header + body[len(header) :] + directory + bytes(width)
