"""Small files that cost much, by what is in their headers and not by their pixels: each made by a function of its name.

Of each kind a server may get many, from a client that pays for one image each.
"""

import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

from tests.image_bytes import chunk, inserted, saved, segment
from tests.provenance_files import png_with_chunks
from tests.signed_files import Authority, Signer

MB = 2**20


def box(kind: bytes, body: bytes) -> bytes:
    """A box of a HEIF."""
    return struct.pack(">I", len(body) + 8) + kind + body


def heif(meta: bytes) -> bytes:
    """A HEIF of 64 by 64 pixels with these boxes in its `meta`."""
    size = box(b"iprp", box(b"ipco", box(b"ispe", struct.pack(">III", 0, 64, 64))))
    whole = bytes(4) + box(b"pitm", struct.pack(">IH", 0, 1)) + meta + size
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", whole)


def empty_extents(boxes: int, items: int, extents: int) -> bytes:
    """A HEIF whose items have so many extents of no bytes."""
    entries = b"".join(struct.pack(">HHH", number, 0, extents) for number in range(items))
    return heif(box(b"iloc", struct.pack(">IHH", 0, 0, items) + entries) * boxes)


def nested(depth: int, inside: bytes = b"") -> bytes:
    """A HEIF with boxes in boxes."""
    heads = [struct.pack(">I", len(inside) + 8 * (level + 1)) + b"ipco" for level in range(depth)]
    return heif(b"".join(reversed(heads)) + inside)


def png_settings() -> bytes:
    """Texts that begin as a generator's settings, and go on with nothing but line ends."""
    return _png(b"Steps: 1" + b"\n" * 65_000 + b"x", 62, b"k")


def png_profiles() -> bytes:
    """Profiles in hexadecimal of a million pieces each."""
    return _png(b"\nexif\n1\n" + b"a " * 500_000, 500, b"Raw profile type exif")


def png_unpacked() -> bytes:
    """Texts of 16 MB, which Pillow refuses, so that the file is looked through again."""
    return _png(bytes(16 * MB), 480, b"Raw profile type exif")


def png_ballast() -> bytes:
    """A small picture with eight megabytes beside it that mean nothing."""
    return png_with_chunks((b"prVt", bytes(8 * MB)))


def xmp_namespaces() -> bytes:
    """Elements that each add to ten thousand namespaces."""
    names = b" ".join(b'xmlns:a%d="b"' % number for number in range(10_000))
    packet = b'<x Credit="1" ' + names + b">" + b'<a xmlns:q="z"/>' * 19_000 + b"</x>"
    return _png(packet, 9, b"XML:com.adobe.xmp")


def jpeg_extensions() -> bytes:
    """Pieces of an extended XMP packet, each without a byte of it."""
    piece = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 40)
    return inserted(saved(_picture(), "JPEG"), piece * 19_000)


def jpeg_scans() -> bytes:
    """A small picture that goes through its pixels again and again, and has no end."""
    data = saved(_picture().convert("L"), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * 300_000


def gif_packets() -> bytes:
    """XMP blocks without an end, before a megabyte."""
    data = saved(_picture().convert("P"), "GIF")
    return data[:-1] + b"\x21\xff\x0bXMP DataXMP\0" * 9_000 + bytes(MB)


def heif_places() -> bytes:
    """Items with 65,535 extents of no bytes."""
    return empty_extents(1, 400, 65_535)


def heif_nested() -> bytes:
    """Boxes in boxes, three thousand deep."""
    return nested(3_000)


def heif_deep() -> bytes:
    """Many small boxes, eight hundred deep."""
    return nested(800, (struct.pack(">I", 8) + b"free") * 400_000)


def heif_joined() -> bytes:
    """Items of text that each are the whole file sixteen times."""
    size, count = 8 * MB, 100
    entries = b"".join(
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number + 1, 0) + b"mime\0") for number in range(count)
    )
    places = b"".join(
        struct.pack(">HHH", number + 1, 0, 16) + struct.pack(">II", 0, size) * 16 for number in range(count)
    )
    data = heif(
        box(b"iinf", b"\0\0\0\0" + struct.pack(">H", count) + entries)
        + box(b"iloc", b"\0\0\0\0\x44\0" + struct.pack(">H", count) + places)
    )
    return data + box(b"mdat", bytes(size - len(data) - 8))


def tiff_tags() -> bytes:
    """Tags that each claim the whole file of 30 MB."""
    size = 30 * MB
    numbers = [258, 259, 262, 266, 273, 274, 277, 278, 279, 281, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338,
               339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532]  # fmt: skip
    data = _tiff((256, 4, 1, 64), (257, 4, 1, 64), *((number, 1, size - 1000, 8) for number in numbers))
    return data + bytes(size - len(data))


def tiff_rows() -> bytes:
    """Four million rows of one pixel of ten bits, in strips that are all the same bytes."""
    rows, each = 4_000_000, 60
    strips = rows // each
    at = 8 + 2 + 12 * 10 + 4
    head = _tiff(
        (256, 4, 1, 1), (257, 4, 1, rows), (258, 3, 1, 10), (259, 3, 1, 1), (262, 3, 1, 1), (273, 3, strips, at),
        (277, 3, 1, 1), (278, 4, 1, each), (279, 3, strips, at), (284, 3, 1, 1),
    )  # fmt: skip
    return head + struct.pack("<H", 8) * strips


def tiff_strips() -> bytes:
    """Three million strips of one byte."""
    rows = 3_000_000
    at = 8 + 2 + 12 * 9 + 4
    head = _tiff(
        (256, 4, 1, 1), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 3, rows, at),
        (277, 3, 1, 1), (278, 3, 1, 1), (279, 3, rows, at),
    )  # fmt: skip
    return head + struct.pack("<H", 1) * rows


def signed() -> bytes:
    """A manifest of four thousand statements, which a native reader goes through for each of them."""
    signer = Signer(Authority.make("Anybody"))
    return signer.sign(
        png_with_chunks(), "PNG", assertions=[{"label": f"a{number}", "data": {}} for number in range(4000)]
    )


HOSTILE_FILES: Mapping[str, Callable[[], bytes]] = {
    made.__name__: made
    for made in (
        png_settings, png_profiles, png_unpacked, png_ballast, xmp_namespaces, jpeg_extensions, jpeg_scans, gif_packets,
        heif_places, heif_nested, heif_deep, heif_joined, tiff_tags, tiff_rows, tiff_strips, signed,
    )
}  # fmt: skip


def _picture() -> Image.Image:
    return Image.new("RGB", (64, 64), (90, 120, 30))


def _png(text: bytes, count: int, key: bytes) -> bytes:
    packed = chunk(b"zTXt", key + b"\0\0" + zlib.compress(text, 9))
    data = saved(_picture(), "PNG")
    return data[:-12] + packed * count + data[-12:]


def _tiff(*tags: tuple[int, int, int, int]) -> bytes:
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
