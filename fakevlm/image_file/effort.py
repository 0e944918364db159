"""What it takes to decode an image, by the header of its file and before any of it is decoded."""

import struct
from typing import NamedTuple

from fakevlm.errors import ImageError
from fakevlm.image_file import isobmff, tiff, webp
from fakevlm.image_file.signature import identify

BYTES_PER_PIXEL = {"JPEG": 18, "PNG": 19, "WEBP": 17, "GIF": 12, "BMP": 12, "TIFF": 19, "AVIF": 16, "HEIF": 16}
"""Memory that decoding takes for each pixel at its peak, by format: measured with the hungriest sound files known."""

_USUAL_SCANS = 12
"""Scans of a JPEG up to which it counts as one pass over its pixels; encoders write ten or so."""
_MAX_PLAIN_SCANS = 512
"""Scans of a JPEG up to which its pixels say how long it takes."""
_MIN_PASS = 4096
"""Pixels in whose time a scan is begun, and seen again where a JPEG is cut."""
_STRIP_COST = 512
"""Pixels in whose time a strip or tile of a TIFF is set up."""
_MAX_PLAIN_HEADER = 1 << 20
"""Bytes before the scans of a JPEG, or of text and EXIF in a PNG, up to which its pixels say how long it takes."""
_MAX_PACKED = 32
"""Compressed texts and profiles of a PNG up to which its pixels say how long it takes: each may hold a megabyte."""
_MAX_STEPS = 1024
"""Segments, blocks or chunks of a file that are looked at; a file with more is no usual one."""
_MAX_PLAIN_BYTES = 8 << 20
"""Bytes of a file up to which its pixels say how long it takes."""
_MAX_QUICK_BYTES = 1 << 20
"""Bytes of a file that can be searched for scans in passing."""
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS, _EOI = 0xDA, 0xD9
_DESCRIPTOR = struct.Struct("<HHHH")
_RUN_LENGTHS = (b"\1", b"\2")
"""Compressions of a BMP that Pillow decodes in Python, pair by pair."""
_UNREADABLE = (ImageError, ValueError, TypeError, LookupError, struct.error, ArithmeticError, RuntimeError, MemoryError)
"""What the parsers raise for a header that makes no sense. RuntimeError is RecursionError's parent."""


class Effort(NamedTuple):
    """The size of an image as it is stored, and how hard it is to decode."""

    format: str
    """One of FORMATS; "" where that is not known."""
    width: int = 0
    height: int = 0
    passes: float = 1.0
    """How often its pixels are gone through, at least 1."""
    is_plain: bool = True
    """Whether its pixels say how long it takes. Otherwise it may be much longer, with Python's lock held."""

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return self.width * self.height

    @property
    def memory_bytes(self) -> int:
        """Memory that decoding takes at its peak."""
        return self.pixels * BYTES_PER_PIXEL.get(self.format, max(BYTES_PER_PIXEL.values()))


def decoding_effort(data: bytes) -> Effort | None:
    """The effort for the image in `data`; None where the header cannot be read, although decoders may find a way."""
    try:
        kind = identify(data)
    except ImageError:
        return Effort("")
    try:
        found = _BY_FORMAT[kind](data)
    except _UNREADABLE:
        return None
    if found is None or not found.pixels:
        return None
    return found._replace(is_plain=found.is_plain and len(data) <= _MAX_PLAIN_BYTES)


def is_quick(data: bytes) -> bool:
    """Whether `decoding_effort` takes microseconds, so that an event loop can wait for it."""
    if len(data) > _MAX_QUICK_BYTES:
        return False
    return data[:3] == b"\xff\xd8\xff" or data[:4] in (b"\x89PNG", b"RIFF", b"GIF8") or data[:2] == b"BM"


def _jpeg(data: bytes) -> Effort | None:
    width = height = components = 0
    is_progressive = False
    at = 2
    for _ in range(_MAX_STEPS):
        at = data.find(b"\xff", at) + 1
        if not 0 < at < len(data):
            return None
        marker = data[at]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            continue
        if marker in (_SOS, _EOI):
            break
        if marker in _SOF:
            height, width = (int.from_bytes(data[at + place : at + place + 2]) for place in (4, 6))
            components, is_progressive = data[at + 8], marker in _PROGRESSIVE
        at += 1 + max(2, int.from_bytes(data[at + 1 : at + 3]))
    else:
        return None
    is_plain = at <= _MAX_PLAIN_HEADER
    if not is_progressive and data[at + 3] == components:  # one scan has everything, and decoders stop after it
        return Effort("JPEG", width, height, is_plain=is_plain)
    scans = data.count(b"\xff\xda", at)
    passes = scans / _USUAL_SCANS
    if passes > 1 and 0 < width * height < _MIN_PASS:
        passes *= _MIN_PASS / (width * height)
    return Effort("JPEG", width, height, max(1.0, passes), is_plain and scans <= _MAX_PLAIN_SCANS)


def _png(data: bytes) -> Effort | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    at, packed, metadata = 8, 0, 0
    for _ in range(_MAX_STEPS):
        if at >= len(data):
            is_plain = packed <= _MAX_PACKED and metadata <= _MAX_PLAIN_HEADER
            return Effort("PNG", width, height, is_plain=is_plain)
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        packed += kind in (b"iCCP", b"zTXt", b"iTXt")
        metadata += size if kind in (b"eXIf", b"tEXt") else 0
        at += 12 + size
    return Effort("PNG", width, height, is_plain=False)


def _webp(data: bytes) -> Effort:
    return Effort("WEBP", *webp.size(data))


def _gif(data: bytes) -> Effort | None:
    """The first image may be larger than the screen, and Pillow then makes that larger."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    in_extension = False
    for _ in range(_MAX_STEPS):
        if at >= len(data):
            return None
        if in_extension:
            in_extension = data[at] != 0
            at += 1 + data[at]
        elif data[at : at + 1] == b"!":
            in_extension = True
            at += 2
        elif data[at : at + 1] == b",":
            left, top, across, down = _DESCRIPTOR.unpack_from(data, at + 1)
            return Effort("GIF", max(width, left + across), max(height, top + down))
        else:
            at += 1
    return None


def _bmp(data: bytes) -> Effort:
    if data[14] == 12:  # the header of OS/2 1.x
        return Effort("BMP", *struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return Effort("BMP", abs(width), abs(height), is_plain=data[30:31] not in _RUN_LENGTHS)


def _tiff(data: bytes) -> Effort:
    width, height, strips = tiff.layout(data)
    passes = max(1.0, strips * _STRIP_COST / max(1, width * height))
    return Effort("TIFF", width, height, passes, is_plain=False)


def _heif(data: bytes) -> Effort:
    return _isobmff(data, "HEIF")


def _avif(data: bytes) -> Effort:
    return _isobmff(data, "AVIF")


def _isobmff(data: bytes, kind: str) -> Effort:
    width, height = max(isobmff.layout(data).sizes, key=lambda size: size[0] * size[1])
    return Effort(kind, width, height, is_plain=False)


_BY_FORMAT = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "HEIF": _heif,
    "AVIF": _avif,
}
