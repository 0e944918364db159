"""Small files whose metadata was made to cost much more than their size: each has a bound in time and memory."""

import json
import struct
import time
import zlib
from collections.abc import Callable

import pytest

from fakevlm.provenance import read, read_light
from fakevlm.provenance.containers import walk
from fakevlm.provenance.containers.metadata import MAX_BLOCKS
from fakevlm.provenance.generators import Text, statements
from tests.hostile_files import (
    gif_packets,
    jpeg_extensions,
    png_profiles,
    png_settings,
    png_unpacked,
    xmp_namespaces,
)
from tests.image_bytes import chunk, picture, saved
from tests.measured import peak
from tests.provenance_files import (
    JPEG,
    PARAMETERS,
    PNG,
    claims,
    jpeg_segment,
    jpeg_with,
    packed_text,
    png_with_chunks,
    xmp,
)

pytestmark = pytest.mark.unit

MIB = 2**20
MAX_SECONDS = 4.0
MAX_MEMORY = 40 * MIB
GIF = saved(picture(48, 32, "P"), "GIF")
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
LABEL_KEY = b'{"ContentProducer":"x",'


def png_of_texts(text: bytes, *, keyword: str = "k", count: int = 62) -> bytes:
    """A PNG with a packed text under so many keywords."""
    name = "{}{}" if keyword == "k" else "{}"
    return png_with_chunks(*[packed_text(name.format(keyword, number), text) for number in range(count)])


def png_of_packets(body: str, *, count: int, attributes: str = "") -> bytes:
    """A PNG with packed XMP packets, the same each time."""
    packet = f'<rdf:RDF {RDF}><rdf:Description Credit="a" {attributes}>{body}'.encode()
    return png_with_chunks(*[packed_text("XML:com.adobe.xmp", packet)] * count)


def png_of_exif(filling: bytes, *, count: int = 4) -> bytes:
    """A PNG with EXIF blocks of 1 MiB, in each of which eight texts lie in the same place."""
    tags = (0x010E, 0x010F, 0x0110, 0x0131, 0x9286, 0x9C9B, 0x9C9C, 0x9C9E)
    entries = b"".join(struct.pack("<HHII", tag, 7, MIB, 110) for tag in tags)
    block = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(110, b"\0")
    return png_with_chunks(*[(b"eXIf", (block + filling * (MIB // len(filling)))[:MIB])] * count)


def heif_of_one_place(kind: bytes, *, items: int = 100, size: int = 4 * MIB) -> bytes:
    """A HEIF with items each of which is the whole file sixteen times."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + name + body

    infos = b"".join(box(b"infe", b"\2\0\0\0" + struct.pack(">HH", n + 1, 0) + kind + b"\0") for n in range(items))
    places = b"".join(struct.pack(">HHH", n + 1, 0, 16) + struct.pack(">II", 0, size) * 16 for n in range(items))
    meta = box(b"pitm", b"\0\0\0\0\0\1") + box(b"iinf", bytes(4) + struct.pack(">H", items) + infos)
    meta += box(b"iloc", bytes(4) + b"\x44\0" + struct.pack(">H", items) + places)
    head = box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(4) + meta)
    return head + box(b"mdat", bytes(size - len(head) - 8))


def damaged_packets(count: int) -> bytes:
    packed = zlib.compress(bytes(MIB), 9)[:-4] + b"abcd"
    return PNG[:33] + chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + packed) * count + PNG[33:]


def raw_profiles(count: int) -> bytes:
    packed = zlib.compress(b"\nexif\n1\n" + b"a " * 500_000, 9)
    return PNG[:33] + chunk(b"zTXt", b"Raw profile type exif\0\0" + packed) * count + PNG[33:]


def gif_of_packets(count: int) -> bytes:
    return GIF[:-1] + b"\x21\xff\x0bXMP DataXMP\0" * count + bytes(MIB)


def jpeg_of_extensions(count: int, *, guids: int = 1) -> bytes:
    head = b"http://ns.adobe.com/xmp/extension/\0"
    return jpeg_with(*[jpeg_segment(0xE1, head + b"%032d" % (n % guids) + bytes(9)) for n in range(count)])


COSTLY: dict[str, Callable[[], bytes]] = {
    "settings of newlines": lambda: png_of_texts(b"Steps: 1" + b"\n" * 65_000 + b"x"),
    "settings of separators": lambda: png_of_texts(b"Steps: 1" + b"\n," * 32_000 + b"x"),
    "settings of digits": lambda: png_of_texts(b"Steps: " * 4000 + b"1" * 30_000),
    "settings in many texts": lambda: png_of_texts((b"Steps: 1," + b"Sampler" * 85 + b"\n") * 8, count=256),
    "JSON of lists": lambda: png_of_texts(b'{"a":[' + b"[]," * 21_000 + b"1]}"),
    "JSON cut within objects": lambda: png_of_texts(LABEL_KEY + b'"a":' + b'{"a":' * 8 + b"[" + b"[]," * 21_000),
    "a label's JSON cut": lambda: png_of_texts(
        LABEL_KEY + b'"a":' + b'{"a":' * 8 + b"[" + b"[]," * 21_000, keyword="Comment"
    ),
    "a label's entities": lambda: png_of_texts(LABEL_KEY + b"&amp;" * 13_000, keyword="Comment"),
    "a label's unknown entities": lambda: png_of_texts(LABEL_KEY + (b"&" + b"a" * 32) * 1900, keyword="AIGC"),
    "packed XMP a thousand times": lambda: PNG[:33] + packed_chunk(bytes(MIB)) * 1000 + PNG[33:],
    "damaged XMP a thousand times": lambda: damaged_packets(1000),
    "raw profiles of spaces": lambda: raw_profiles(100),
    "namespaces": lambda: png_of_packets(
        '<a xmlns:q="z"/>' * 19_000, count=9, attributes=" ".join(f'xmlns:a{n}="b"' for n in range(10_000))
    ),
    "a long namespace": lambda: png_of_packets(
        "<p:provenance>x</p:provenance>" * 4900, count=4, attributes=f'xmlns:p="{"purl.org/dc/term" * 50_000}"'
    ),
    "elements": lambda: png_of_packets("<a/>" * 19_000, count=32),
    "elements in depth": lambda: png_of_packets("<x>" + "<b>" * 58 + "t<c/>" * 19_000, count=32),
    "long names of structures": lambda: png_of_packets(
        "<x" + "y" * 50_000 + ">" + "".join(f"t<c{n}/>" for n in range(4900)), count=32
    ),
    "long names in depth": lambda: png_of_packets(
        f"<{'z' * 150}>" * 58 + "".join(f"t<c{n}/>" for n in range(4900)), count=32
    ),
    "attributes": lambda: png_of_packets("<x " + " ".join(f'a{n}=""' for n in range(90_000)) + "/>", count=4),
    "pieces of extended XMP": lambda: jpeg_of_extensions(19_000),
    "names of extended XMP": lambda: jpeg_of_extensions(19_000, guids=19_000),
    "resources of Photoshop": lambda: jpeg_with(*[jpeg_segment(0xED, b"Photoshop 3.0\0" + bytes(65_000))] * 400),
    "XMP of a GIF": lambda: gif_of_packets(9000),
    "XMP items in one place": lambda: heif_of_one_place(b"mime"),
    "EXIF items in one place": lambda: heif_of_one_place(b"Exif"),
    "EXIF texts in one place": lambda: png_of_exif(b"[],"),
    "EXIF texts of broken UTF-16": lambda: png_of_exif(b"\0\xd8"),
}


def packed_chunk(text: bytes) -> bytes:
    return chunk(*packed_text("XML:com.adobe.xmp", text))


@pytest.mark.parametrize("name", COSTLY)
def test_metadata_costs_little_whatever_it_is(name: str) -> None:
    file = COSTLY[name]()
    started = time.thread_time()
    found = read(file)
    seconds = time.thread_time() - started
    assert "fault" not in json.loads(found.detail or "{}")
    assert seconds < MAX_SECONDS


@pytest.mark.parametrize(
    "name", [name for name in COSTLY if name.startswith(("raw", "long", "attr", "res", "XMP items", "EXIF", "damaged"))]
)
def test_metadata_takes_little_memory(name: str) -> None:
    file = COSTLY[name]()
    assert peak(lambda: read(file)) < MAX_MEMORY


@pytest.mark.parametrize(
    "hostile",
    [
        packed_text("k", b"Steps: 1" + b"\n" * 65_000 + b"x"),
        packed_text("XML:com.adobe.xmp", b"<Credit>" + b"<a/>" * 100_000),
        packed_text("Raw profile type exif", b"\nexif\n1\n" + b"a " * 500_000),
        packed_text("Comment", LABEL_KEY + b"&#" + b"1" * 5000),
    ],
    ids=["settings", "XMP", "raw profile", "label"],
)
def test_what_precedes_costly_metadata_is_read(hostile: tuple[bytes, bytes]) -> None:
    found = read(png_with_chunks(packed_text("parameters", PARAMETERS.encode()), *[hostile] * 40))
    assert (found.provenance, found.generator) == ("ai_generated", "Stable Diffusion web UI")


def test_what_was_not_unpacked_is_said() -> None:
    texts = [packed_text(f"k{number}", bytes(60_000)) for number in range(200)]
    late = packed_text("parameters", PARAMETERS.encode())
    assert read(png_with_chunks(*texts[:60], late)).generator == "Stable Diffusion web UI"
    walked = walk(png_with_chunks(*texts, late))
    assert walked is not None
    assert walked.cut
    found = read(png_with_chunks(late, *texts))
    assert json.loads(found.detail or "")["cut"] is True


def test_each_of_several_packets_is_read_up_to_their_limit() -> None:
    packet = xmp({"photoshop:Credit": "Made with Google AI"})
    segment = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    assert "cut" not in json.loads(read(jpeg_with(*[segment] * MAX_BLOCKS)).detail or "")
    assert json.loads(read(jpeg_with(*[segment] * (MAX_BLOCKS + 1))).detail or "")["cut"] is True
    assert read(JPEG).detail is None


@pytest.mark.parametrize(
    ("line", "is_settings"),
    [
        ("Steps: 20, Sampler: Euler", True),
        ("Steps: 20\n\n \nSampler: Euler", True),
        ("Steps: 20 \n , Seed: 1", True),
        ("Steps: 20 | " + "x" * 590 + " Seed: 1", True),
        ("Steps: 20, " + "x" * 620 + " Seed: 1", False),
        ("Steps: 20 Sampler: Euler", False),
        ("Steps: 20, NotSeed: 1", False),
        ("Steps: many, Seed: 1", False),
    ],
)
def test_a_line_of_settings(line: str, is_settings: bool) -> None:
    assert bool(list(statements([Text("parameters", line)]))) is is_settings


@pytest.mark.parametrize("name", claims())
def test_what_is_light_is_read_as_a_whole(name: str) -> None:
    data = claims()[name].file
    light = read_light(data)
    assert light is None or light == read(data)


def test_a_usual_file_is_light_and_a_costly_one_is_not() -> None:
    assert read_light(jpeg_with()) == read(jpeg_with())
    for make in (png_settings, png_profiles, png_unpacked, xmp_namespaces, jpeg_extensions, gif_packets):
        data = make()
        began = time.thread_time()
        assert read_light(data) is None, make.__name__
        assert time.thread_time() - began < 0.2, make.__name__
