"""Files that are small and ask for much: what they cost is bounded, and they are refused, not failed on."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import decoding_effort, effort, read_image
from tests.hostile_files import box, empty_extents, heif, nested
from tests.image_bytes import chunk, inserted, many_scans, picture, saved, segment, tiff
from tests.measured import peak, seconds

pytestmark = pytest.mark.unit

MAX_PIXELS = 50_000_000
MAX_S = 4.0
"""CPU time of one thread; what it takes is mostly a tenth of that."""
PNG = saved(picture(), "PNG")
JPEG = saved(picture(), "JPEG")


def items(*kinds: bytes) -> bytes:
    entries = (box(b"infe", struct.pack(">IHH", 2 << 24, at + 1, 0) + kind + b"\0") for at, kind in enumerate(kinds))
    return box(b"iinf", struct.pack(">IH", 0, len(kinds)) + b"".join(entries))


def places(*extents: list[tuple[int, int]]) -> bytes:
    entries = (
        struct.pack(">HHH", at + 1, 0, len(each)) + b"".join(struct.pack(">II", *extent) for extent in each)
        for at, each in enumerate(extents)
    )
    return box(b"iloc", struct.pack(">IHH", 0, 0x4400, len(extents)) + b"".join(entries))


def derived(parts: dict[int, list[int]]) -> bytes:
    entries = (
        box(b"dimg", struct.pack(f">HH{len(each)}H", number, len(each), *each)) for number, each in parts.items()
    )
    return box(b"iref", bytes(4) + b"".join(entries))


def overlapping_tiles(tiles: int) -> bytes:
    meta = items(b"grid", *[b"hvc1"] * tiles) + derived({1: list(range(2, tiles + 2))})
    length = 4 << 20
    return heif(meta + places([], *[[(1 << 16, length)] * 16] * tiles)).ljust(1 << 16, b"\0") + bytes(length)


def many_units(units: int) -> bytes:
    return heif(items(b"hvc1") + places([(1000, 5 * units)])).ljust(1000, b"\0") + b"\0\0\0\1a" * units


def grids_of_grids() -> bytes:
    levels = {level: [level + 1] * 50 for level in range(1, 7)}
    return heif(items(*[b"grid"] * 6, b"hvc1") + derived(levels))


HEIF = {
    "extents of no bytes": lambda: empty_extents(1, 400, 65535),
    "many boxes of such": lambda: empty_extents(500, 1, 8000),
    "nested": lambda: nested(3000),
    "nested a little": lambda: nested(30),
    "many in nested": lambda: nested(10, box(b"free", b"") * 400_000),
    "many boxes": lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"free", b"") * 400_000,
    "many parts": lambda: heif(box(b"iref", bytes(4) + box(b"dimg", struct.pack(">HH", 1, 0)) * 200_000)),
    "tiles of the same bytes": lambda: overlapping_tiles(200),
    "units": lambda: many_units(1_000_000),
    "grids of grids": grids_of_grids,
    "itself": lambda: heif(items(b"grid") + derived({1: [1]})),
}
COUNTS = {256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}


def directory(entries: dict[int, tuple[int, int, int]], rest: bytes = b"") -> bytes:
    """A little-endian TIFF; `entries`: tag to (type, count, value or place)."""
    listed = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + listed + bytes(4) + rest


def whole_file_tags(size: int) -> bytes:
    tags = (258, 259, 262, 266, 273, 277, 278, 279, 281, 320, 325, 338, 339, 512, 513, 519, 529)
    return directory({256: (4, 1, 64), 257: (4, 1, 64)} | {tag: (1, size, 8) for tag in tags}, bytes(size))


def many_strips(width: int, height: int, strips: int) -> bytes:
    entries = COUNTS | {256: (4, 1, width), 257: (4, 1, height), 278: (3, 1, 1)}
    at = 8 + 2 + 12 * (len(entries) + 2) + 4
    return directory(entries | {273: (3, strips, at), 279: (3, strips, at)}, struct.pack("<H", 1) * strips)


def overlapping_strips(bits: int, width: int, height: int, rows: int) -> bytes:
    strips = height // rows
    entries = COUNTS | {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, bits), 278: (4, 1, rows)}
    at = 8 + 2 + 12 * (len(entries) + 2) + 4
    return directory(entries | {273: (3, strips, at), 279: (3, strips, at)}, struct.pack("<H", 8) * strips)


def overlapping_planes(size: int) -> bytes:
    entries = COUNTS | {258: (3, 1, 16), 262: (3, 1, 0), 284: (3, 1, 2), 278: (4, 1, 1)}
    at = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries |= {273: (4, 500, at), 279: (4, 500, at + 2000)}
    return directory(entries, struct.pack("<500I", *[8] * 500) + struct.pack("<500I", *[size] * 500) + bytes(size))


def rationals(tag: int, count: int) -> bytes:
    """A TIFF, or EXIF, of one tag."""
    return directory({tag: (5, count, 26)}, bytes(8 * count))


def metadata_tiff(count: int) -> bytes:
    entries = COUNTS | {273: (4, 1, 8), 278: (3, 1, 8), 279: (4, 1, 64), 34665: (4, 1, 134)}
    inner = struct.pack("<HHHII", 1, 0x8298, 5, count, 152) + bytes(4)
    return directory(entries).ljust(134, b"\0") + inner + bytes(8 * count)


TIFF = {
    "tags of the whole file": lambda: whole_file_tags(16 << 20),
    "strips": lambda: many_strips(1, 3_000_000, 3_000_000),
    "strips of a tiny image": lambda: many_strips(8, 8, 3_000_000),
    "planes of the same bytes": lambda: overlapping_planes(4 << 20),
}


def texts(count: int, size: int) -> bytes:
    return inserted(PNG, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(size), 9)) * count)


def raw_profile(exif: bytes) -> bytes:
    return inserted(
        PNG, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n1\n" + exif.hex().encode()))
    )


def few_rows(surplus: int) -> bytes:
    """A PNG that lacks rows and has bytes behind its stream instead."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    stream = zlib.compress((b"\0" + bytes(64)) * 60) + bytes(surplus)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def run_lengths(side: int) -> bytes:
    """A BMP whose pixels are coded one by one."""
    body = (b"\x01\x05" * side + b"\0\0") * side + b"\0\1"
    sizes = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + sizes + bytes(1024) + body


GIF = saved(Image.new("P", (64, 64), 3), "GIF")
WEBP = saved(picture(), "WEBP")
OTHERS = {
    "PNG: compressed texts": lambda: texts(400, 16 << 20),
    "PNG: EXIF of many values in a text": lambda: raw_profile(rationals(0x0112, 200_000)),
    "PNG: lines in a text": lambda: inserted(
        PNG, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * (16 << 20)))
    ),
    "PNG: chunks": lambda: inserted(PNG, chunk(b"gAMA", b"") + chunk(b"teSt", b"") * 200_000),
    "PNG: surplus": lambda: few_rows(7 << 20),
    "PNG: EXIF of many values": lambda: inserted(PNG, chunk(b"eXIf", rationals(0x0112, 900_000))),
    "JPEG: scans, cut": lambda: many_scans(8, 8, 300_000)[:-2],
    "JPEG: scans": lambda: many_scans(8, 8, 300_000),
    "JPEG: scans behind the only one": lambda: JPEG[:-2] + b"\xff\xda\0\x08\1\1\0\0?\0" * 400_000,
    "JPEG: fill bytes": lambda: inserted(JPEG, b"\xff" * 500_000)[:-9],
    "JPEG: markers": lambda: JPEG[:-2] + b"\xff\xfe\0\2" * 400_000,
    "JPEG: restarts": lambda: inserted(JPEG, segment(0xDD, b"\0\1"))[:-2] + b"\xff\xd0" * 1_000_000,
    "GIF: blocks, cut": lambda: GIF[: GIF.index(b",") + 11] + b"\x01a" * 300_000,
    "GIF: extensions, cut": lambda: inserted(GIF, b"!\xf9\0" * 300_000)[:-20],
    "WebP: chunks, cut": lambda: WEBP[:12] + b"abcd\0\0\0\0" * 500_000 + WEBP[12:-9],
}


def outcome(data: bytes) -> str:
    try:
        return read_image(data, max_pixels=MAX_PIXELS).format
    except ImageError as error:
        return error.code


@pytest.mark.parametrize("name", [*HEIF, *TIFF, *OTHERS])
def test_a_look_at_the_header_takes_little(name: str) -> None:
    data = (HEIF | TIFF | OTHERS)[name]()
    assert seconds(lambda: decoding_effort(data)) < MAX_S / 4
    assert peak(lambda: decoding_effort(data)) < 4 << 20


@pytest.mark.parametrize(("name", "copies"), [*((name, 3) for name in HEIF), *((name, 5) for name in TIFF)])
def test_what_asks_for_much_is_refused(name: str, copies: int) -> None:
    data = (HEIF | TIFF)[name]()
    assert seconds(lambda: outcome(data)) < MAX_S
    assert outcome(data) in (ErrorCode.TRUNCATED, ErrorCode.UNSUPPORTED_FORMAT)
    assert peak(lambda: outcome(data)) < copies * len(data) + (8 << 20)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_decoded_on_a_thread_takes_no_longer_than_its_pixels(name: str) -> None:
    data = OTHERS[name]()
    found = decoding_effort(data)
    if found is not None and found.is_plain and found.pixels * found.passes < 1 << 20:
        assert seconds(lambda: outcome(data)) < MAX_S
        assert peak(lambda: outcome(data)) < 4 * len(data) + (100 << 20)


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (texts(3, 16 << 20), "PNG"),
        (raw_profile(rationals(0x0112, 200_000)), "PNG"),
        (inserted(PNG, chunk(b"gAMA", b"") + chunk(b"teSt", b"") * 2000), "PNG"),
        (few_rows(1 << 20), "truncated"),
        (many_scans(8, 8, 20_000)[:-2], "truncated"),
        (GIF[: GIF.index(b",") + 11] + b"\x01a" * 300_000, "truncated"),
        (run_lengths(100), "BMP"),
        (metadata_tiff(300_000), "TIFF"),
    ],
    ids=["texts", "EXIF", "chunks", "rows", "scans", "blocks", "run lengths", "metadata"],
)
def test_they_are_read_or_refused_as_before(data: bytes, form: str) -> None:
    assert seconds(lambda: outcome(data)) < MAX_S
    assert outcome(data) == form


@pytest.mark.parametrize(
    "data",
    [
        many_scans(8, 8, 600),
        run_lengths(50),
        texts(40, 1000),
        inserted(PNG, chunk(b"eXIf", bytes(2 << 20))),
        inserted(JPEG, segment(0xFE, bytes(60_000)) * 20),
        JPEG[:20] + bytes(2 << 20) + JPEG[20:],
    ],
    ids=["scans", "run lengths", "texts", "EXIF", "comments", "junk"],
)
def test_what_python_takes_apart_at_length_is_not_plain(data: bytes) -> None:
    found = decoding_effort(data)
    assert found is not None
    assert not found.is_plain


def test_strips_and_scans_count_even_in_tiny_images() -> None:
    strips = decoding_effort(many_strips(8, 8, 20_000))
    scans = decoding_effort(many_scans(8, 8, 24_000))
    assert strips is not None
    assert strips.pixels * strips.passes > 10_000_000
    assert scans is not None
    assert scans.pixels * scans.passes > 8_000_000


@pytest.mark.parametrize("error", [RecursionError(), MemoryError(), struct.error(), IndexError(), OverflowError()])
def test_no_error_of_a_parser_comes_out(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(data: bytes) -> None:
        raise error

    monkeypatch.setitem(effort._BY_FORMAT, "PNG", fail)
    assert decoding_effort(PNG) is None


def test_rows_of_overlapping_strips_are_widened_at_once() -> None:
    data = overlapping_strips(10, 1, 1_999_980, 60)
    assert seconds(lambda: outcome(data)) < MAX_S
    assert outcome(data) == "TIFF"


@pytest.mark.parametrize("bits", [9, 10, 11, 13, 14, 15])
@pytest.mark.parametrize(("width", "height", "rows"), [(7, 5, 2), (1, 9, 4), (300_001, 2, 1), (300, 1000, 7)])
def test_widened_samples_of_any_shape(bits: int, width: int, height: int, rows: int) -> None:
    samples = np.random.default_rng(bits).integers(0, 1 << bits, (height, width)).astype(np.uint16)
    rgb = np.asarray(read_image(tiff(samples, bits, rows=rows), max_pixels=MAX_PIXELS).rgb)
    np.testing.assert_array_equal(rgb[..., 0], samples >> bits - 8)
