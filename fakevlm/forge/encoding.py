"""Both pictures of a pair as files that differ in nothing but their pixels: format, settings and number of bytes."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from fakevlm.forge.forged import Pixels

MIN_COMMENT = 32
"""Bytes that the comment of the larger file of a pair takes, with its own header; even, as WebP needs it."""
_PNG_KEYWORD = b"Comment\0"
_JPEG_SEGMENT = 2 + 65535
"""Bytes of the longest JPEG segment, marker included."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a picture becomes a file."""

    format: Literal["JPEG", "PNG", "WEBP"]
    quality: int | None = None
    """1 to 100; None where nothing is lost."""
    subsampling: Literal["4:4:4", "4:2:0"] | None = None
    """Subsampling of JPEG's colour."""

    @property
    def extension(self) -> str:
        """The file name's, without a dot."""
        return {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[self.format]


def draw_encoding(rng: np.random.Generator) -> Encoding:
    """One of JPEG 4:4:4 and 4:2:0, PNG, lossy and lossless WebP; quality 88 to 98 where there is one."""
    quality = int(rng.integers(88, 98, endpoint=True))
    kinds = (
        Encoding("JPEG", quality, "4:4:4"),
        Encoding("JPEG", quality, "4:2:0"),
        Encoding("PNG"),
        Encoding("WEBP", quality),
        Encoding("WEBP"),
    )
    return kinds[int(rng.integers(len(kinds)))]


def encode(rgb: Pixels, encoding: Encoding) -> bytes:
    """A picture uint8[height, width, 3] as a file without any metadata."""
    options: dict[str, Any]
    if encoding.format == "JPEG":
        options = {"quality": encoding.quality, "subsampling": encoding.subsampling}
    elif encoding.format == "PNG":
        options = {"compress_level": 6}
    elif encoding.quality is None:
        # The method trades time against size, nothing else: 0 is ten times as fast as the default.
        options = {"lossless": True, "quality": 20, "method": 0}
    else:
        options = {"quality": encoding.quality, "method": 2}
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, encoding.format, **options)
    data = buffer.getvalue()
    return _extended(data, rgb.shape[1], rgb.shape[0]) if encoding.format == "WEBP" else data


def encode_pair(first: Pixels, second: Pixels, encoding: Encoding) -> tuple[bytes, bytes]:
    """Both pictures as files with a comment each that makes them equally long.

    An artifact changes how well a picture compresses; without the comment its file's size would give it away.
    """
    files = encode(first, encoding), encode(second, encoding)
    size = max(map(len, files)) + MIN_COMMENT
    padded = [with_comment(data, size - len(data), encoding) for data in files]
    return padded[0], padded[1]


def with_comment(data: bytes, extra: int, encoding: Encoding) -> bytes:
    """A file of `encode` made longer by exactly `extra` bytes (at least 32, even for WebP) with a comment of spaces."""
    if encoding.format == "JPEG":
        # After the JFIF header, which must come first: 2 bytes for the start of the image, then the APP0 segment.
        end = 4 + int.from_bytes(data[4:6], "big")
        return data[:end] + _jpeg_comments(extra) + data[end:]
    if encoding.format == "PNG":
        text = _PNG_KEYWORD + b" " * (extra - 12 - len(_PNG_KEYWORD))
        chunk = struct.pack(">I", len(text)) + b"tEXt" + text
        end = 8 + 25  # after the signature and the header chunk
        return data[:end] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[end:]
    if extra % 2:
        raise ValueError("chunks of WebP have an even length")
    chunk = struct.pack("<4sI", b"NOTE", extra - 8) + b" " * (extra - 8)
    return _riff(data[12:] + chunk)


def _jpeg_comments(extra: int) -> bytes:
    """COM segments of `extra` bytes together; a segment has at least 4."""
    segments = b""
    while extra:
        size = min(extra, _JPEG_SEGMENT)
        if 0 < extra - size < 4:
            size -= 4
        segments += b"\xff\xfe" + struct.pack(">H", size - 2) + b" " * (size - 4)
        extra -= size
    return segments


def _extended(data: bytes, width: int, height: int) -> bytes:
    """A WebP file in the extended format, the only one that allows other chunks (RFC 9649, section 2.7)."""
    if data[12:16] == b"VP8X":
        return data
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _riff(struct.pack("<4sI", b"VP8X", 10) + bytes(4) + canvas + data[12:])


def _riff(chunks: bytes) -> bytes:
    return struct.pack("<4sI4s", b"RIFF", len(chunks) + 4, b"WEBP") + chunks
