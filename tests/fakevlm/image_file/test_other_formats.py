"""GIF, BMP, WebP and AVIF: what is not pixels has no say, and a missing end is shown where all pixels are there."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import read_image
from tests.image_bytes import inserted, orientation, picture, saved

pytestmark = pytest.mark.unit


def plain(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def note(data: bytes, expected: Any) -> str:
    """The note, when exactly these pixels are read."""
    content = read_image(data, max_pixels=1_000_000)
    np.testing.assert_array_equal(np.asarray(content.rgb), expected)
    return content.note


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(data, max_pixels=1_000_000)
    return caught.value


GIF = saved(picture(mode="P"), "GIF")


@pytest.mark.parametrize(
    "extension", [b"!\xf9\1\1\0", b"!\xff\x0bNETSCAPE2.0\1\1\0", b"!\xff\0", b"!\xfe\xff" + b"a" * 255 + b"\0"]
)
def test_gif_extensions_have_no_say(extension: bytes) -> None:
    assert note(inserted(GIF, extension), plain(GIF)) == ""


def test_a_gif_without_its_end() -> None:
    assert note(GIF[:-1], plain(GIF)) == ""
    assert note(GIF[:-3], plain(GIF)) == "the file lacks its end; all pixels are there"
    for kept in (0.5, 0.9):
        assert refusal(GIF[: int(len(GIF) * kept)]).code is ErrorCode.TRUNCATED


def test_a_gif_keeps_the_background_of_a_small_first_frame() -> None:
    frame = picture(20, 10, "P")
    data = bytearray(saved(frame, "GIF", transparency=3))
    data[6:10] = struct.pack("<HH", 40, 30)
    assert note(inserted(bytes(data), b"!\xff\0" + b"!\xff\x0bNETSCAPE2.0\1\1\0"), plain(bytes(data))) == ""


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_bmp_that_ends_early(mode: str) -> None:
    data = saved(picture(61, 400, mode), "BMP")
    assert note(data[:-1], plain(data)) == ""
    content = read_image(data[: -len(data) // 100], max_pixels=1_000_000)
    assert "% of the pixels are missing" in content.note
    assert 0 < (np.asarray(content.rgb) != plain(data)).any(axis=2).mean() < 0.02
    assert "of the pixels are missing" in refusal(data[: len(data) // 2]).message


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_whose_header_or_metadata_is_wrong(lossless: bool) -> None:
    data = saved(picture(), "WEBP", lossless=lossless)
    shown = plain(data)
    for size in (0, 20, len(data) + 999, 0xFFFFFFFF):
        assert note(data[:4] + struct.pack("<I", size) + data[8:], shown) == ""
    assert note(data + b"junk", shown) == ""
    assert refusal(data[: len(data) * 2 // 3]).code is ErrorCode.TRUNCATED
    rich = saved(picture(), "WEBP", lossless=lossless, exif=orientation(6), icc_profile=b"profile" * 9, xmp=b"<x/>")
    turned = np.rot90(shown, -1)
    for lost in (1, 5, 9):
        assert note(rich[:-lost], turned) == "", "cut within XMP, after EXIF"
    canvas = rich.index(b"VP8X") + 12
    assert note(rich[:canvas] + b"\1\0\0\1\0\0" + rich[canvas + 6 :], turned) == "", "a canvas of 2 x 2"


def test_the_first_frame_of_a_cut_animation() -> None:
    frames = [picture(seed=seed) for seed in range(3)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert note(data[:-500], np.asarray(frames[0])) == ""


@pytest.mark.parametrize("damage", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"MM\0\0"])
def test_avif_metadata_has_no_say(damage: bytes) -> None:
    data = saved(picture(64, 40), "AVIF", exif=orientation(6), xmp=b"<x/>" * 9)
    turned = np.rot90(plain(data), -1)
    assert note(data.replace(b"MM\0*", damage), turned) == ""
    assert note(data + b"junk", turned) == ""
    assert note(data + struct.pack(">I", 9999) + b"free", turned) == ""
    for lost in (1, 100):
        assert refusal(data[:-lost]).code is ErrorCode.TRUNCATED
