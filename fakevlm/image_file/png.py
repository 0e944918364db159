"""PNG files that Pillow refuses although their pixels are there: odd metadata, wrong checksums, a cut end."""

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.repair import Repair, missing_note

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_METADATA = 16 << 20
"""Bytes of uncompressed EXIF and XMP, all chunks of a file together, that are looked at for an orientation."""
_MAX_PROFILE = 4 << 20
"""Bytes of a text that is EXIF in hexadecimal digits, of which Pillow makes a list of lines. EXIF is 64 KB mostly."""
_MAX_CHUNKS = 1 << 18
"""Chunks of a file that is repaired: those of a file of 64 MB in pieces of 256 bytes."""
_MAX_DEPTH = 16
_PIECE = 4096
_MAX_SURPLUS = 1 << 20
"""Bytes after the last row that are unpacked in search of the checksum."""
_MIN_HOLE = 64
"""Zeros at the end of a cut file that are a hole in it, not pixels."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""(first column, first row, step across, step down) of the seven passes of an interlaced image."""
_RAW_PROFILE = b"Raw profile type exif"
_XMP = b"XML:com.adobe.xmp"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_END = _chunk(b"IEND", b"")
_END_MISSING = "the file lacks its end; all pixels are there"


class _Chunk(NamedTuple):
    """A chunk of `data`, which is not copied until it is asked for."""

    kind: bytes
    data: bytes
    start: int
    end: int
    """Behind the checksum, or behind the file where it is cut."""

    @property
    def body(self) -> bytes:
        return self.data[self.start + 8 : self.end - 4]

    @property
    def whole(self) -> bytes:
        """With length and checksum; shorter where the file ends."""
        return self.data[self.start : self.end]

    @property
    def cut(self) -> bool:
        return self.end > len(self.data)

    @property
    def sound(self) -> bool:
        return self.whole[-4:] == struct.pack(">I", zlib.crc32(self.kind + self.body))


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The chunks that hold pixels, without the others; then those pixels that the file holds of a cut image.

    The chunks left out (text, colour profiles, transparency, animation ...) have no part in the RGB values: an alpha
    channel is dropped, colours are not managed, and the first frame is the one of the IDAT chunks. Raises ValueError
    for a file of very many chunks.
    """
    chunks = list(itertools.islice(_chunks(data), _MAX_CHUNKS + 1))
    if len(chunks) > _MAX_CHUNKS:
        raise ValueError(f"the file has more than {_MAX_CHUNKS} chunks")
    critical = [chunk for chunk in chunks if chunk.kind[:1].isupper() and chunk.kind != b"IEND"]
    if any(chunk.kind == b"CgBI" for chunk in critical):
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, "PNG: images in Apple's own variant (CgBI) are not read")
    info = _orientation_info(chunks)
    if chunks and chunks[-1].kind == b"IEND":
        yield Repair(_SIGNATURE + b"".join(chunk.whole for chunk in critical) + _END, info=info)
    header = next((chunk.body for chunk in critical if chunk.kind == b"IHDR" and chunk.sound), None)
    if header is None or len(header) != 13:
        return
    before = [chunk.whole for chunk in critical if chunk.kind != b"IDAT"]
    pixels = [chunk for chunk in critical if chunk.kind == b"IDAT"]
    if not pixels:
        return
    packed, words = _complete(pixels, _raw_size(header, max_pixels))
    yield Repair(_SIGNATURE + b"".join((*before, _chunk(b"IDAT", packed), _END)), words, info)


def note(data: bytes, last_row_is_black: bool, max_pixels: int) -> str:
    """The note for a PNG that Pillow has read; "" for a sound one. Raises ImageError for one that lacks too much.

    Pillow takes compressed data that ends between two rows, and leaves the rest black. It does not look at the
    checksums of a file that lacks its end, where a hole may have been unpacked like pixels.
    """
    whole = data.endswith(_END) or _END in data
    if whole and not last_row_is_black:
        return ""
    chunks = list(_chunks(data))
    header = next(chunk.body for chunk in chunks if chunk.kind == b"IHDR")
    pixels = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    if whole:
        missing = _missing_rows(pixels, _raw_size(header, max_pixels))
        return missing_note("PNG", missing) if missing else ""
    return _complete(pixels, _raw_size(header, max_pixels))[1] or _END_MISSING


def _missing_rows(pixels: list[_Chunk], size: int) -> float:
    found = 0
    for raw in _unpacked(b"".join(chunk.body for chunk in pixels), zlib.decompressobj()):
        found += len(raw)
        if found >= size:
            return 0.0
    return 1 - found / size


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = len(_SIGNATURE)
    while len(data) >= at + 8 and re.match(rb"[A-Za-z]{4}", kind := data[at + 4 : at + 8]):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        yield _Chunk(kind, data, at, end)
        if kind == b"IEND":
            break
        at = end


def _orientation_info(chunks: list[_Chunk]) -> dict[str, bytes | str]:
    """EXIF and XMP under Pillow's names, of chunks whose checksum is right."""
    info: dict[str, bytes | str] = {}
    room = _MAX_METADATA
    for chunk in chunks:
        if chunk.kind not in (b"eXIf", b"tEXt", b"zTXt", b"iTXt") or not chunk.sound:
            continue
        key, _, value = chunk.body.partition(b"\0")
        if chunk.kind == b"eXIf":
            info["exif"] = b"Exif\0\0" + chunk.body
        elif chunk.kind != b"iTXt" and key == _RAW_PROFILE:
            text = value if chunk.kind == b"tEXt" else _unpack(value[1:], min(room, _MAX_PROFILE))
            room -= len(text)
            info["Raw profile type exif"] = text.decode("latin-1")
        elif chunk.kind == b"iTXt" and key == _XMP and value.count(b"\0") >= 2:
            text = value[2:].split(b"\0", 2)[-1]
            info["xmp"] = _unpack(text, room) if value[:1] == b"\x01" else text
            room -= len(info["xmp"])
    return info


def _unpack(packed: bytes, room: int) -> bytes:
    """The first `room` bytes, or none."""
    if room < 1:
        return b""
    try:
        return zlib.decompressobj().decompress(packed, room)
    except zlib.error:
        return b""


def _raw_size(header: bytes, max_pixels: int) -> int:
    """Bytes of all rows of the image, each with its filter byte. Raises ImageError for more than `max_pixels`."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    if width * height > max_pixels:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, f"{width} x {height} pixels are more than {max_pixels}")
    if depth > _MAX_DEPTH:
        raise ValueError(f"samples of {depth} bits are not supported")
    bits = depth * _SAMPLES.get(colour, 1)
    size = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + -(-columns * bits // 8))
    return size


def _complete(pixels: list[_Chunk], size: int) -> tuple[bytes, str]:
    """The IDAT chunks' stream packed again, with zeros where it lacks rows, and what was wrong with it.

    Raises ImageError where it lacks too many, or where the checksums say that what is there has been changed.
    """
    unpack, pack = zlib.decompressobj(), zlib.compressobj(1)
    packed, found = [], 0
    stream = b"".join(chunk.body for chunk in pixels)
    if pixels[-1].cut and stream.endswith(bytes(_MIN_HOLE)):
        stream = stream.rstrip(b"\0")
    for raw in _unpacked(stream, unpack):
        packed.append(pack.compress(raw[: max(0, size - found)]))
        found += len(raw)
        if found > size + _MAX_SURPLUS:
            break
    if found < size:
        words = missing_note("PNG", 1 - found / size)
        packed.append(pack.compress(bytes(size - found)))
    elif unpack.eof:
        words = ""
    elif pixels[-1].cut and all(chunk.sound for chunk in pixels[:-1]):
        words = _END_MISSING
    elif all(chunk.sound for chunk in pixels):
        words = "the checksum of the pixels is wrong as it was written; all pixels are there"
    else:
        raise ImageError(ErrorCode.TRUNCATED, "PNG: the checksums of the pixels are wrong")
    return b"".join((*packed, pack.flush())), words


def _unpacked(stream: bytes, unpack: "zlib._Decompress") -> Iterator[bytes]:
    """What can be unpacked of a zlib stream, up to its damage."""
    for start in range(0, len(stream), _PIECE):
        piece = stream[start : start + _PIECE]
        if unpack.eof:  # it would copy all that has come after its end, piece by piece
            return
        before = unpack.copy()
        try:
            yield unpack.decompress(piece)
        except zlib.error:
            try:
                for byte in piece:
                    yield before.decompress(bytes([byte]))
            except zlib.error:
                return
