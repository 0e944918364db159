"""TIFF: samples are scaled by their depth and meaning, and odd tags have no say."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import read_image
from tests.image_bytes import Samples, orientation, picture, saved, tiff, with_tag

pytestmark = pytest.mark.unit


def grey(data: bytes) -> Samples:
    """One channel of a grey image."""
    rgb = np.asarray(read_image(data, max_pixels=1_000_000).rgb)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(data, max_pixels=1_000_000)
    return caught.value


def ramp(bits: int, top: int | None = None) -> Samples:
    line = np.linspace(0, top or (1 << bits) - 1, 256).round().astype(np.uint64 if bits == 32 else np.uint16)
    return line[None].repeat(9, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 9, 10, 12, 14, 15, 16])
def test_a_ramp_is_a_ramp_in_every_depth(bits: int, order: str) -> None:
    black_first = grey(tiff(ramp(bits), bits, 1, order=order)).astype(int)
    assert (black_first[0, 0], black_first[0, -1]) == (0, 255)
    assert (np.diff(black_first[0]) >= 0).all()
    np.testing.assert_array_equal(grey(tiff(ramp(bits), bits, 0, order=order)), 255 - black_first)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_declared_depth_within_sixteen_bits_counts(order: str, photometric: int) -> None:
    """A maximum of all ones, as cameras and scanners declare it; any other is a statistic and must not count."""
    for top in (255, 1023, 4095, 16383):
        values = grey(tiff(ramp(16, top), 16, photometric, order=order, tags=[(280, 3, [0]), (281, 3, [top])]))
        assert sorted((values[0, 0], values[0, -1])) == [0, 255]
    plain = grey(tiff(ramp(16, 3000), 16, photometric, order=order))
    np.testing.assert_array_equal(
        grey(tiff(ramp(16, 3000), 16, photometric, order=order, tags=[(281, 3, [3000])])), plain
    )
    lied = tiff(ramp(16, 9000), 16, photometric, order=order, tags=[(281, 3, [4095])])
    np.testing.assert_array_equal(grey(lied), grey(tiff(ramp(16, 9000), 16, photometric, order=order)))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_sixteen_bits_that_count_from_white(compression: str) -> None:
    data = saved(Image.fromarray(ramp(16)), "TIFF", compression=compression)
    white_first = with_tag(data, 262, 3, 1, b"\0\0\0\0")
    np.testing.assert_array_equal(grey(white_first), 255 - grey(data))


def test_undefined_samples_are_unsigned_and_signed_ones_are_refused() -> None:
    np.testing.assert_array_equal(grey(tiff(ramp(16), 16, tags=[(339, 3, [4])])), ramp(16) >> 8)
    for bits in (8, 16, 32):
        error = refusal(tiff(ramp(bits), bits, tags=[(339, 3, [2])]))
        assert (error.code, error.message) == (ErrorCode.UNSUPPORTED_FORMAT, "TIFF: signed samples are not supported")
    for bits, sample_format in ((32, 1), (32, 3), (16, 3)):
        assert refusal(tiff(ramp(bits), bits, tags=[(339, 3, [sample_format])])).code is ErrorCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("bands", [3, 4])
def test_sixteen_bit_colour_keeps_its_upper_byte(bands: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (9, 20 * bands)).astype(np.uint16)
    tags = [(338, 3, [2])] if bands == 4 else []
    for order in "<>":
        data = tiff(samples, 16, 2, order=order, bands=bands, tags=tags)
        expected = (samples >> 8).reshape(9, 20, bands)[..., :3]
        np.testing.assert_array_equal(np.asarray(read_image(data, max_pixels=10**6).rgb), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_in_separate_planes(bits: int, bands: int, order: str) -> None:
    """Pillow alone takes planes of 16 bits for planes of eight."""
    samples = np.random.default_rng(0).integers(0, 1 << bits, (9, 20, bands)).astype(np.uint16)
    planes = samples.transpose(2, 0, 1).reshape(-1, 20)
    tags = [(257, 4, [9]), (258, 3, [bits] * bands), (277, 3, [bands]), (284, 3, [2]), (338, 3, [2] * (bands - 3))]
    data = tiff(planes, bits, 2, order=order, rows=9, tags=[tag for tag in tags if tag[2]])
    expected = (samples >> bits - 8)[..., :3]
    np.testing.assert_array_equal(np.asarray(read_image(data, max_pixels=10**6).rgb), expected)


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_a_colour_map_of_eight_bits_is_not_black(factor: int) -> None:
    random = np.random.default_rng(0)
    colours, samples = random.integers(0, 256, (3, 256)), random.integers(0, 256, (9, 20)).astype(np.uint16)
    data = tiff(samples, 8, 3, tags=[(320, 3, [int(value) * factor for value in colours.reshape(-1)])])
    expected = colours[:, samples].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(read_image(data, max_pixels=10**6).rgb), expected)


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_an_alpha_channel_is_dropped(extra: int) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (9, 40)).astype(np.uint16)
    samples[:, 1::2] = 255
    np.testing.assert_array_equal(grey(tiff(samples, 8, 1, bands=2, tags=[(338, 3, [extra])])), samples[:, ::2])


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_survives_odd_tags(value: int) -> None:
    data = saved(picture(), "TIFF", exif=orientation(value))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    for odd in ((282, 2, 4, b"abc\0"), (700, 3, 1, b"\xff\xff\0\0"), (34665, 4, 1, b"\xff\xff\xff\xff")):
        np.testing.assert_array_equal(np.asarray(read_image(with_tag(data, *odd), max_pixels=10**6).rgb), upright)


@pytest.mark.parametrize("rows", [1, 2, 5, None])
def test_strips_of_widened_samples_lie_where_they_belong(rows: int | None) -> None:
    samples = np.random.default_rng(1).integers(0, 1024, (11, 13)).astype(np.uint16)
    np.testing.assert_array_equal(grey(tiff(samples, 10, rows=rows)), samples >> 2)


def test_a_file_that_ends_early_is_truncated() -> None:
    for data in (tiff(ramp(12), 12), tiff(ramp(10), 10), tiff(ramp(16), 16, 0), saved(picture(), "TIFF")):
        for kept in (0.3, 0.9):
            assert refusal(data[: int(len(data) * kept)]).code in (ErrorCode.TRUNCATED, ErrorCode.UNSUPPORTED_FORMAT)
