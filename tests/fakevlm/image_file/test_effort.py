"""What decoding takes, by the header: the size that Pillow finds, whatever the format, and files that are not plain."""

import io

import pytest
from PIL import Image

from fakevlm.image_file import FORMATS, decoding_effort, read_image
from fakevlm.image_file.effort import BYTES_PER_PIXEL, is_quick
from tests.image_bytes import chunk, inserted, many_scans, picture, saved, segment

pytestmark = pytest.mark.unit

FILES = {
    "JPEG": saved(picture(61, 40), "JPEG"),
    "progressive": saved(picture(61, 40), "JPEG", progressive=True),
    "PNG": saved(picture(61, 40), "PNG"),
    "lossy": saved(picture(61, 40), "WEBP"),
    "lossless": saved(picture(61, 40), "WEBP", lossless=True),
    "with alpha": saved(picture(61, 40, "RGBA"), "WEBP"),
    "GIF": saved(picture(61, 40), "GIF"),
    "BMP": saved(picture(61, 40), "BMP"),
    "TIFF": saved(picture(61, 40), "TIFF"),
    "big TIFF": saved(picture(61, 40), "TIFF", big_tiff=True),
    "AVIF": saved(picture(61, 40), "AVIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_size_is_that_of_the_image(name: str) -> None:
    found = decoding_effort(FILES[name])
    assert found is not None
    assert (found.width, found.height, found.passes) == (61, 40, 1.0)
    assert found.format == read_image(FILES[name], max_pixels=10**6).format
    assert found.memory_bytes == 61 * 40 * BYTES_PER_PIXEL[found.format]
    assert found.is_plain == (found.format not in ("TIFF", "AVIF"))
    assert is_quick(FILES[name]) == found.is_plain


def test_every_format_has_its_memory() -> None:
    assert set(BYTES_PER_PIXEL) == set(FORMATS)


def test_an_animation_whose_first_image_is_larger_than_its_screen() -> None:
    data = bytearray(saved(picture(61, 40), "GIF"))
    data[6:10] = bytes((5, 0, 5, 0))
    found = decoding_effort(bytes(data))
    assert found is not None
    assert (found.width, found.height) == read_image(bytes(data), max_pixels=10**6).rgb.size == (61, 40)


def test_scans_beyond_the_usual_are_passes_over_the_pixels() -> None:
    data = many_scans(400, 300, 120)
    assert Image.open(io.BytesIO(data)).size == (400, 300)
    found = decoding_effort(data)
    assert found is not None
    assert found.passes == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize(
    "data",
    [
        inserted(FILES["JPEG"], segment(0xFE, b"") * 5000),
        inserted(FILES["GIF"], b"!\xfe" + b"\x01a" * 5000 + b"\0"),
        FILES["JPEG"].replace(b"\xff\xc0", b"\xff\xe5"),
        FILES["PNG"][:8] + FILES["PNG"][8 + 25 :],
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0\xff\xff\xff\x7f",
        b"\0\0\0\x18ftypheic\0\0\0\0",
    ],
    ids=["segments", "blocks", "no frame", "no header", "cut", "no directory", "no items"],
)
def test_a_header_that_says_nothing(data: bytes) -> None:
    """Whoever asks takes it for as large as is allowed."""
    assert decoding_effort(data) is None


def test_a_png_of_very_many_chunks_is_not_plain() -> None:
    data = FILES["PNG"]
    found = decoding_effort(inserted(data, chunk(b"tEXt", b"a\0b") * 5000))
    assert found is not None
    assert (found.width, found.height, found.is_plain) == (61, 40, False)


def test_bytes_that_are_no_image_take_nothing() -> None:
    for data in (b"", b"GIF", b"%PDF-1.7", bytes(100)):
        found = decoding_effort(data)
        assert found is not None
        assert (found.format, found.pixels, found.memory_bytes) == ("", 0, 0)
