"""HEIC and HEIF: the primary image, turned once, within the limit of pixels, and never half of it."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import isobmff, read_image
from tests.image_bytes import orientation, picture, saved

pytestmark = pytest.mark.unit

EXACT = {"quality": -1, "chroma": 444}


def pixels(data: bytes) -> Any:
    content = read_image(data, max_pixels=1_000_000)
    assert content.format == "HEIF"
    return np.asarray(content.rgb)


def refusal(data: bytes, max_pixels: int = 1_000_000) -> ErrorCode:
    with pytest.raises(ImageError) as caught:
        read_image(data, max_pixels=max_pixels)
    return caught.value.code


def close(one: Any, other: Any) -> bool:
    """The same but for the rounding between RGB and YCbCr."""
    return one.shape == other.shape and np.abs(one.astype(int) - np.asarray(other).astype(int)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_what_was_written_is_read(mode: str) -> None:
    image = picture(65, 41, mode)
    assert close(pixels(saved(image, "HEIF", **EXACT)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1", b"mif2", b"heio"])
def test_the_brands_of_still_images(brand: bytes) -> None:
    data = saved(picture(), "HEIF", **EXACT)
    assert close(pixels(data[:8] + brand + data[12:]), np.asarray(picture()))


@pytest.mark.parametrize("value", range(1, 9))
def test_an_image_is_turned_once(value: int) -> None:
    image = picture(64, 40)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(saved(image, "PNG", exif=orientation(value)))))
    assert close(pixels(saved(image, "HEIF", exif=orientation(value), **EXACT)), np.asarray(upright))


def test_ten_bits_are_scaled_to_eight() -> None:
    deep = np.random.default_rng(0).integers(0, 1024, (40, 64, 3)).astype(np.uint16) << 6
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 40), deep.tobytes()).save(file, **EXACT)
    assert close(pixels(file.getvalue()), deep >> 8)


def test_the_primary_image_is_read_not_a_thumbnail_nor_another_one() -> None:
    file = pillow_heif.from_pillow(picture(64, 48))
    file.add_from_pillow(picture(80, 60, seed=1))
    written = io.BytesIO()
    file.save(written, primary_index=1, **EXACT)
    assert close(pixels(written.getvalue()), np.asarray(picture(80, 60, seed=1)))
    file = pillow_heif.from_pillow(picture(300, 200))
    file.info["thumbnails"] = [128]
    written = io.BytesIO()
    file.save(written, **EXACT)
    assert b"thmb" in written.getvalue()
    assert close(pixels(written.getvalue()), np.asarray(picture(300, 200)))


def test_a_grid_is_put_together() -> None:
    data = saved(picture(200, 150), "HEIF", tile_size=64, **EXACT)
    assert close(pixels(data), np.asarray(picture(200, 150)))
    assert len(list(isobmff.layout(data).pixel_items())) > 6


@pytest.mark.parametrize("options", [{}, {"tile_size": 64}], ids=["one", "grid"])
def test_missing_bytes_are_never_grey_pixels(options: dict[str, int]) -> None:
    """libheif alone shows the tiles that it has."""
    data = saved(picture(200, 150), "HEIF", **options)
    for kept in (0.3, 0.6, 0.9):
        length = int(len(data) * kept)
        assert refusal(data[:length]) is ErrorCode.TRUNCATED
        assert refusal(data[:length] + bytes(len(data) - length)) is ErrorCode.TRUNCATED
    assert refusal(data[:-1]) is ErrorCode.TRUNCATED


def test_what_comes_after_the_pixels_may_be_missing() -> None:
    data = saved(picture(), "HEIF", exif=orientation(6), **EXACT)
    assert close(pixels(data[:-50]), np.rot90(np.asarray(picture()), -1))
    assert close(pixels(data + b"junk"), np.rot90(np.asarray(picture()), -1))
    assert close(pixels(data.replace(b"MM\0*", b"\xff\xff\xff\xff")), np.rot90(np.asarray(picture()), -1))


def sized(data: bytes, width: int, height: int) -> bytes:
    """A file that says this size of all its images."""
    file = bytearray(data)
    place = 0
    while (place := file.find(b"ispe", place) + 1) > 0:
        file[place + 7 : place + 15] = struct.pack(">II", width, height)
    return bytes(file)


def test_the_limit_is_the_last_allowed_count_before_memory_is_taken() -> None:
    data = saved(picture(300, 200), "HEIF")
    assert read_image(data, max_pixels=60_800).rgb.size == (300, 200), "stored as 304 x 200"
    assert refusal(data, 59_999) is ErrorCode.TOO_MANY_PIXELS
    assert refusal(sized(data, 30_000, 30_000), 100_000_000) is ErrorCode.TOO_MANY_PIXELS
    assert refusal(sized(data, 16, 16)) is ErrorCode.TRUNCATED, "what is coded is larger than said"


def test_what_holds_no_still_image_is_not_supported() -> None:
    """A sequence without a still image, and a file cut before its boxes."""
    data = saved(picture(), "HEIF")
    assert refusal(data.replace(b"meta", b"moov", 1)) is ErrorCode.UNSUPPORTED_FORMAT
    assert refusal(data[:40]) in (ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.TRUNCATED)
    for coding in (b"vvc1", b"jpeg", b"unci", b"av01"):
        assert refusal(data.replace(b"hvc1", coding)) is ErrorCode.UNSUPPORTED_FORMAT


def test_threads_read_side_by_side() -> None:
    files = [saved(picture(120, 90, seed=seed), "HEIF", tile_size=64) for seed in range(6)]
    alone = [pixels(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(pixels, files * 8)):
            np.testing.assert_array_equal(found, alone[number % len(files)])
