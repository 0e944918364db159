"""PNG: metadata has no say, checksums of pixels have, and what is missing is said."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import read_image
from tests.image_bytes import SIGNATURE, chunk, inserted, orientation, picture, png, saved

pytestmark = pytest.mark.unit

MAX_PIXELS = 1_000_000
IMAGE = picture()
FILE = saved(IMAGE, "PNG")


def shows(data: bytes, image: Image.Image = IMAGE) -> str:
    """The note, when the file shows exactly this image."""
    content = read_image(data, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(np.asarray(content.rgb), np.asarray(image.convert("RGB")))
    return content.note


def refusal(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(data, max_pixels=max_pixels)
    return caught.value


BIG = zlib.compress(bytes(3 << 20))


@pytest.mark.parametrize(
    "piece",
    [
        chunk(b"zTXt", b"parameters\0\0" + BIG),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + BIG),
        b"".join(chunk(b"tEXt", b"prompt%d\0" % number + b"a" * (1 << 20)) for number in range(70)),
        chunk(b"iCCP", b"profile\0\0" + BIG),
        chunk(b"pHYs", bytes(9), b"abcd"),
        chunk(b"gAMA", b""),
        chunk(b"tRNS", b"\0"),
        chunk(b"acTL", struct.pack(">II", 3, 0))
        + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 7, 9, 9, 99, 99, 0, 0, 9, 9)),
    ],
    ids=[
        "zTXt of 3 MB",
        "iTXt of 3 MB",
        "70 MB of tEXt",
        "ICC of 3 MB",
        "checksum",
        "short gAMA",
        "short tRNS",
        "frames",
    ],
)
def test_chunks_that_are_no_pixels_have_no_say(piece: bytes) -> None:
    assert shows(inserted(FILE, piece)) == ""
    assert shows(FILE[:-12] + piece + FILE[-12:]) == ""


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_honoured_beside_broken_chunks(value: int) -> None:
    data = saved(IMAGE, "PNG", exif=orientation(value))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert shows(inserted(data, chunk(b"pHYs", bytes(9), b"abcd")), upright) == ""
    words = PngImagePlugin.PngInfo()
    words.add_itxt("XML:com.adobe.xmp", f'<rdf:Description tiff:Orientation="{value}"/>' + " " * (2 << 20), zip=True)
    assert shows(saved(IMAGE, "PNG", pnginfo=words), upright) == "", "from two megabytes of XMP"


def test_wrong_checksums_of_what_pixels_depend_on_are_damage() -> None:
    assert "IHDR" in refusal(FILE[:29] + b"abcd" + FILE[33:]).message
    few = saved(IMAGE.quantize(16), "PNG")
    place = few.index(b"PLTE")
    size = int.from_bytes(few[place - 4 : place])
    damaged = few[: place + 4 + size] + b"abcd" + few[place + 8 + size :]
    assert refusal(damaged).code is ErrorCode.TRUNCATED


def test_the_checksum_within_the_pixel_data_decides_about_it() -> None:
    assert shows(FILE[:-16] + b"abcd" + FILE[-12:]) == "", "the chunk's own is wrong, the one of the data right"
    assert "checksum" in refusal(FILE[:-20] + b"abcd" + FILE[-16:]).message
    raw = b"".join(b"\0" + bytes([200] * 30) for _ in range(10))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    written = header + chunk(b"IDAT", zlib.compress(raw)[:-4] + b"abcd") + chunk(b"IEND", b"")
    assert "checksum" in shows(SIGNATURE + written, Image.new("RGB", (10, 10), (200, 200, 200)))


@pytest.mark.parametrize("lost", [1, 4, 11, 12, 13, 16, 17, 20])
def test_a_file_that_lacks_only_its_end_is_shown_and_it_is_said(lost: int) -> None:
    assert shows(FILE[:-lost]) == "the file lacks its end; all pixels are there"


@pytest.mark.parametrize("interlaced", [False, True])
def test_up_to_two_in_a_hundred_missing_pixels_are_said_more_are_refused(interlaced: bool) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (100, 300)).astype(np.uint16)
    data = png(samples, 8, 2, interlaced=interlaced)
    cut = read_image(data[: -len(data) // 100], max_pixels=MAX_PIXELS)
    assert "% of the pixels are missing" in cut.note
    differ = (np.asarray(cut.rgb) != samples.reshape(100, 100, 3)).any(axis=2).mean()
    assert 0 < differ < 0.02
    for lost in (len(data) // 30, len(data) // 2):
        error = refusal(data[:-lost])
        assert error.code is ErrorCode.TRUNCATED
        assert "of the pixels are missing" in error.message
    assert refusal(data[: len(data) // 2] + bytes(len(data) // 2)).code is ErrorCode.TRUNCATED


def test_rows_missing_before_a_proper_end_are_not_taken_for_black() -> None:
    raw = b"".join(b"\0" + bytes([200] * 30) for _ in range(5))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    data = SIGNATURE + header + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    assert refusal(data).message == "PNG: 50.0% of the pixels are missing"
    black = png(np.zeros((10, 30), np.uint16), 8, 2)
    assert shows(black, Image.new("RGB", (10, 10))) == ""


def test_a_bomb_behind_broken_metadata_is_found_by_its_header() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    data = SIGNATURE + header + chunk(b"pHYs", b"", b"abcd") + chunk(b"IDAT", BIG) + chunk(b"IEND", b"")
    assert refusal(data).code is ErrorCode.TOO_MANY_PIXELS
    assert refusal(data[:-20]).code is ErrorCode.TOO_MANY_PIXELS


def test_apples_own_variant_is_named() -> None:
    assert refusal(inserted(FILE[:8] + FILE[33:], b"")).code is ErrorCode.TRUNCATED
    data = SIGNATURE + chunk(b"CgBI", bytes(4)) + FILE[8:33] + chunk(b"IDAT", b"raw") + chunk(b"IEND", b"")
    assert refusal(data).code is ErrorCode.UNSUPPORTED_FORMAT
