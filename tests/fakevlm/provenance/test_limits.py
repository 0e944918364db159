"""Files that were made to be costly: each is read in a second, in little memory, up to a limit that is said."""

import json
import struct
import time
import zlib
from collections.abc import Callable

import pytest

from fakevlm.provenance import read
from fakevlm.provenance.containers import walk
from fakevlm.provenance.containers.metadata import MAX_TEXT, MAX_TEXTS, MAX_XMP
from tests.image_bytes import chunk, picture, saved
from tests.measured import peak
from tests.provenance_files import (
    IPTC,
    JPEG,
    PARAMETERS,
    PNG,
    exif_block,
    international_text,
    jpeg_segment,
    jpeg_with,
    jpeg_with_exif,
    jpeg_with_xmp,
    packed_text,
    png_with_chunks,
    riff,
    user_comment,
    webp_with,
    xmp,
)

pytestmark = pytest.mark.unit

MIB = 2**20
STEPS = b"Steps: 1, " * 6500
GIF = saved(picture(48, 32, "P"), "GIF")


def heif(meta: bytes) -> bytes:
    """The head of a HEIF with a `meta` box."""
    return struct.pack(">I", 16) + b"ftypheic\0\0\0\0" + struct.pack(">I", 8 + len(meta)) + b"meta" + meta


def nested_boxes(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = struct.pack(">I", 8 + len(inner)) + b"iprp" + inner
    return heif(bytes(4) + inner)


def tiff_of_loops() -> bytes:
    """A directory of a thousand entries, each of which says that the same directory is its EXIF directory."""
    entries = struct.pack("<HHII", 0x8769, 4, 1, 8) * 1000
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1000) + entries + bytes(4)


def bomb(keyword: str, text: bytes, mib: int) -> bytes:
    """A zTXt chunk of a text that is repeated up to so many MiB."""
    pack = zlib.compressobj(1)
    block = text * (MIB // len(text))
    packed = b"".join(pack.compress(block) for _ in range(mib)) + pack.flush()
    return chunk(b"zTXt", keyword.encode() + b"\0\0" + packed)


COSTLY: dict[str, Callable[[], bytes]] = {
    "a packed text of 60 MB": lambda: PNG[:33] + bomb("parameters", b"\0" * 64, 60) + PNG[33:],
    "many packed texts of 4 MB": lambda: PNG[:33] + bomb("k", b"Steps: 1, ", 4) * 100 + PNG[33:],
    "packed XMP of 20 MB": lambda: PNG[:33] + bomb("XML:com.adobe.xmp", b"<Credit>", 20) + PNG[33:],
    "an open text of 8 MB": lambda: png_with_chunks((b"tEXt", b"parameters\0" + b"Steps: 1, " * 800_000)),
    "half a million chunks": lambda: PNG[:33] + chunk(b"tEXt", b"a\0b") * 500_000,
    "half a million segments": lambda: JPEG[:2] + jpeg_segment(0xEC, b"a") * 500_000 + JPEG[2:],
    "30 MB between segments": lambda: JPEG[:2] + b"\xff" * 15 * MIB + bytes(15 * MIB) + JPEG[2:],
    "half a million chunks of WebP": lambda: webp_with(b"EXIF", b"") + riff(b"XMP ", b"") * 500_000,
    "five million blocks of GIF": lambda: GIF[:-1] + b"\x21\xff\x0bNETSCAPE2.0" + b"\x01a" * 5_000_000,
    "half a million comments of GIF": lambda: GIF[:-1] + b"\x21\xfe\x01a\0" * 500_000,
    "a directory that is its own": tiff_of_loops,
    "deep boxes": lambda: nested_boxes(20_000),
    "many places of items": lambda: heif(bytes(4) + (struct.pack(">I", 800_016) + b"iloc" + b"\0" * 800_008) * 40),
    "deep XML": lambda: jpeg_with(jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0DigitalSource" + b"<a>" * 20_000)),
    "much XML": lambda: png_with_chunks(international_text("XML:com.adobe.xmp", xmp(elements="<Credit/>" * 120_000))),
    "much XML in structures": lambda: png_with_chunks(
        international_text("XML:com.adobe.xmp", xmp(elements="<Credit>" + "<b>a</b>" * 120_000 + "</Credit>"))
    ),
    "deep JSON": lambda: png_with_chunks((b"tEXt", b"Comment\0" + b'{"a":' * 13_000)),
    "deep lists": lambda: png_with_chunks((b"tEXt", b'parameters\0{"a":' + b"[" * 60_000)),
    "long numbers": lambda: png_with_chunks((b"tEXt", b'AIGC\0{"Label":' + b"1" * 60_000 + b"}")),
    "many braces": lambda: png_with_chunks((b"tEXt", b"AIGC\0" + b"{" * 65_000)),
    "many steps": lambda: png_with_chunks(*[(b"tEXt", b"parameters%d\0" % n + STEPS) for n in range(60)]),
    "many jobs": lambda: png_with_chunks(
        *[(b"tEXt", b"Description\0" + b"Job ID: 12345678-" * 3800) for _ in range(60)]
    ),
    "many entities in HTML": lambda: png_with_chunks((b"tEXt", b"AIGC\0" + b"&amp;" * 13_000)),
    "many XMP packets": lambda: jpeg_with(
        *[jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp({"photoshop:Credit": "x"})) for _ in range(5000)]
    ),
    "many pieces of XMP": lambda: jpeg_with(
        *[
            jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"%032d" % (n % 7) + bytes(8) + b"x" * 60_000)
            for n in range(500)
        ]
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_file_is_read_in_a_second_and_little_memory(name: str) -> None:
    file = COSTLY[name]()
    started = time.process_time()
    found = read(file)
    seconds = time.process_time() - started
    assert found.provenance in ("none", "ai_generated")
    assert seconds < 1.0


@pytest.mark.parametrize("name", [name for name in COSTLY if "packed" in name or "open" in name])
def test_a_bomb_is_not_unpacked(name: str) -> None:
    file = COSTLY[name]()
    assert peak(lambda: read(file)) < 30 * MIB


def test_entities_are_not_expanded() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    source = f"{IPTC}trainedAlgorithmicMedia"
    for document in (
        f'<!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]>',
        f'<!DOCTYPE x [<!ENTITY l9 "{source}">]>',
        '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
    ):
        body = xmp({"photoshop:Credit": "&l9;"}, packet=False).replace(b"&amp;", b"&")
        found = read(jpeg_with_xmp(document.encode() + body.replace(b"<rdf:D", b"<rdf:D", 1)))
        assert found == read(JPEG)


def test_what_was_left_out_is_said_and_what_was_not_is_read() -> None:
    long = PARAMETERS + "x" * MAX_TEXT
    found = read(png_with_chunks(packed_text("parameters", long.encode())))
    assert found.provenance == "ai_generated"
    assert json.loads(found.detail or "")["cut"] is True
    many = [(b"tEXt", b"k%d\0v" % number) for number in range(MAX_TEXTS)]
    assert (
        read(png_with_chunks(*many[:-1], (b"tEXt", b"parameters\0" + PARAMETERS.encode()))).provenance == "ai_generated"
    )
    assert read(png_with_chunks(*many, (b"tEXt", b"parameters\0" + PARAMETERS.encode()))).provenance == "none"
    walked = walk(png_with_chunks(international_text("XML:com.adobe.xmp", b"x" * (MAX_XMP + 10))))
    assert walked is not None
    assert (len(walked.xmp[0]), walked.cut) == (MAX_XMP, True)


def test_damage_costs_what_comes_after_it_and_no_more() -> None:
    packed = zlib.compress(PARAMETERS.encode())
    for file, provenance in (
        (png_with_chunks((b"zTXt", b"parameters\0\0" + packed[:-3])), "ai_generated"),
        (png_with_chunks((b"zTXt", b"parameters\0\0" + packed[:20] + b"\xff" * 20)), "none"),
        (
            png_with_chunks((b"tEXt", b"no end of the keyword"), packed_text("parameters", PARAMETERS.encode())),
            "ai_generated",
        ),
        (jpeg_with_xmp(xmp({"Iptc4xmpExt:DigitalSourceType": IPTC + "digitalCapture"})[:-60]), "captured"),
        (jpeg_with_exif(exif_block({0x010F: "Ideogram AI"}, {0x9286: user_comment(PARAMETERS)})[:-4]), "ai_generated"),
        (PNG[:33] + chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode(), checksum=b"\0\0\0\0")[:-6], "ai_generated"),
    ):
        assert read(file).provenance == provenance
