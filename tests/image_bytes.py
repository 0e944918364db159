"""Image files byte by byte: what Pillow does not write, and damage at a chosen place."""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image

Samples = npt.NDArray[np.unsignedinteger[Any]]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
EOI = b"\xff\xd9"


def picture(width: int = 60, height: int = 40, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth colours under noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 4), dtype=np.uint8), "RGBA").resize((width, height))
    noise = random.integers(-40, 41, (height, width, 4))
    image = Image.fromarray((np.asarray(coarse).astype(int) + noise).clip(0, 255).astype(np.uint8), "RGBA")
    return image.convert("RGB").quantize(32) if mode == "P" else image.convert(mode)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if format == "HEIF":
        pillow_heif.from_pillow(image).save(file, **options)
    else:
        image.save(file, format, **options)
    return file.getvalue()


def orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    exif[0x010F] = "a camera maker whose name is long enough not to fit into a tag"
    return exif.tobytes()


def chunk(kind: bytes, body: bytes, checksum: bytes | None = None) -> bytes:
    """A PNG chunk, by default with the right checksum."""
    return struct.pack(">I", len(body)) + kind + body + (checksum or struct.pack(">I", zlib.crc32(kind + body)))


def png(samples: Samples, depth: int, colour: int, *, interlaced: bool = False, palette: bytes = b"") -> bytes:
    """A PNG with `samples` [height, width * channels]."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    height, width = samples.shape[0], samples.shape[1] // channels
    pixels = samples.reshape(height, width, channels)
    raw = b""
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = pixels[top::down, left::across]
        if part.size:
            raw += b"".join(b"\0" + packed_row(row.reshape(-1), depth, ">") for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join((chunks[0], chunk(b"PLTE", palette) if palette else b"", *chunks[1:]))


def packed_row(row: Samples, bits: int, order: str) -> bytes:
    """The samples of a row with this many bits each, ending at a whole byte."""
    if bits in (16, 32):
        return row.astype(f"{order}u{bits // 8}").tobytes()
    each = row[:, None] >> np.arange(bits - 1, -1, -1, dtype=row.dtype) & 1
    return np.packbits(each.astype(np.uint8).reshape(-1)).tobytes()


def tiff(
    samples: Samples,
    bits: int,
    photometric: int = 1,
    *,
    order: str = "<",
    bands: int = 1,
    rows: int | None = None,
    tags: Iterable[tuple[int, int, list[int]]] = (),
) -> bytes:
    """An uncompressed TIFF with `samples` [height, width * bands] in strips of `rows`; `tags`: (tag, type, values)."""
    height, width = samples.shape[0], samples.shape[1] // bands
    rows = rows or height
    strips = [
        b"".join(packed_row(row, bits, order) for row in samples[top : top + rows]) for top in range(0, height, rows)
    ]
    entries: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * bands), 259: (3, [1]), 262: (3, [photometric]),
        273: (4, [0] * len(strips)), 277: (3, [bands]), 278: (4, [rows]), 279: (4, [len(strip) for strip in strips]),
    }  # fmt: skip
    entries |= {tag: (kind, values) for tag, kind, values in tags}
    after = 8 + 2 + 12 * len(entries) + 4
    after += sum(size for kind, values in entries.values() if (size := len(values) * _SIZES[kind]) > 4)
    entries[273] = (4, [after + sum(map(len, strips[:number])) for number in range(len(strips))])
    directory, outside = b"", b""
    place = 8 + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        raw = struct.pack(f"{order}{len(values)}{_WORDS[kind]}", *values)
        if len(raw) > 4:
            raw, outside = struct.pack(f"{order}I", place + len(outside)), outside + raw
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(entries))
    return head + directory + bytes(4) + outside + b"".join(strips)


_WORDS = {1: "B", 3: "H", 4: "I"}
_SIZES = {1: 1, 3: 2, 4: 4}


def with_tag(data: bytes, tag: int, kind: int, count: int, value: bytes) -> bytes:
    """A little-endian TIFF of Pillow's with one more entry, of any sense, in its directory."""
    (place,) = struct.unpack_from("<I", data, 4)
    (number,) = struct.unpack_from("<H", data, place)
    entries = [data[at : at + 12] for at in range(place + 2, place + 2 + 12 * number, 12)]
    entries = [entry for entry in entries if entry[:2] != struct.pack("<H", tag)]
    entries.append(struct.pack("<HHI4s", tag, kind, count, value))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    body = data + b"\0" * (len(data) % 2)
    head = body[:4] + struct.pack("<I", len(body)) + body[8:]
    return head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def segment(marker: int, body: bytes, length: int | None = None) -> bytes:
    """A JPEG segment, by default with the right length."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2 if length is None else length) + body


def after_header(data: bytes) -> int:
    """Where a file's metadata may begin: after a PNG's IHDR, a JPEG's first marker, a GIF's global palette."""
    if data.startswith(SIGNATURE):
        return 33
    if data.startswith(b"GIF"):
        return 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return 2


def inserted(data: bytes, piece: bytes) -> bytes:
    place = after_header(data)
    return data[:place] + piece + data[place:]


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A sound grey JPEG of a few kilobytes whose last scan comes again and again: each is a pass over its pixels."""
    data = saved(Image.new("L", (width, height), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + data[-2:]
