"""Every condition measured for what its name claims."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageChops, JpegImagePlugin

from fakevlm.distortion import operators
from fakevlm.distortion.operators import BACKGROUND, MAX_SQUARE
from fakevlm.errors import ErrorCode, ImageError, UserError
from fakevlm.metrics.distortion import (
    CONDITIONS,
    NONE,
    PAPER,
    PAPER_ROWS,
    STRIP,
    WIDE,
    distort,
    parse_conditions,
)
from tests.fakevlm.forge.scenes import leaves, photograph

pytestmark = pytest.mark.unit

PHOTO = photograph(96, 3)
GREY = Image.new("RGB", (200, 150), (128, 128, 128))


def levels(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image).astype(np.float64)


def sharpness(image: Image.Image) -> float:
    """Mean square difference of neighbours."""
    return float((np.diff(levels(image), axis=1) ** 2).mean())


def saved(image: Image.Image, format: str, **options: object) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format, **options)
    return Image.open(file).convert("RGB")


def equal(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and ImageChops.difference(first, second).getbbox() is None


def test_the_papers_table() -> None:
    assert " ".join(PAPER) == (
        "jpeg70 jpeg80 resize0.5 resize0.75 gauss5 gauss10 flip rotate15 sharpen1.5 contrast0.7 contrast1.3 blur3"
    )
    assert tuple(PAPER_ROWS) == (NONE, *PAPER)
    assert PAPER_ROWS[NONE] == (98.6, 98.1)
    assert min(PAPER_ROWS, key=lambda name: PAPER_ROWS[name].accuracy) == "blur3"
    assert all(80 < value <= 98.6 for row in PAPER_ROWS.values() for value in row)


def test_the_wide_set_holds_the_papers_first() -> None:
    assert WIDE[: len(PAPER)] == PAPER
    assert len(set(WIDE)) == len(WIDE)
    assert {f"jpeg{quality}" for quality in range(30, 100, 10)} < set(WIDE)
    assert {"resize0.5-jpeg70", "jpeg70-jpeg70", "resize0.75-webp80", "blur3-jpeg70"} < set(WIDE)
    assert all(CONDITIONS[name].name == name and CONDITIONS[name].meaning for name in WIDE)


@pytest.mark.parametrize("name", [NONE, *WIDE])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (37, 41)])
def test_any_size_stays_an_rgb_image(name: str, size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    changed = distort(image, name, 7)
    assert changed.mode == "RGB"
    assert min(changed.size) >= 1
    np.asarray(changed)


@pytest.mark.parametrize("name", WIDE)
def test_the_picture_changes_the_same_way_each_time_and_the_original_never(name: str) -> None:
    image = PHOTO.copy()
    first, again = distort(image, name, 11), distort(image, name, 11)
    assert equal(first, again)
    assert equal(image, PHOTO)
    assert not equal(first, PHOTO)
    assert equal(first, distort(image, name, 12)) == (not name.startswith("gauss"))


def test_none_is_the_picture_itself() -> None:
    assert distort(PHOTO, NONE, 0) is PHOTO


@pytest.mark.parametrize("quality", range(30, 100, 10))
def test_jpeg_has_the_quantisation_of_its_quality(quality: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[bytes] = []
    read = operators.read_image
    monkeypatch.setattr(operators, "read_image", lambda data, **limits: files.append(data) or read(data, **limits))
    changed = distort(PHOTO, f"jpeg{quality}", 0)
    other = io.BytesIO()
    Image.fromarray(leaves(64, 1)).save(other, "JPEG", quality=quality)
    made, expected = (JpegImagePlugin.JpegImageFile(io.BytesIO(data)) for data in (files[0], other.getvalue()))
    assert made.quantization == expected.quantization
    assert JpegImagePlugin.get_sampling(made) == 2  # 4:2:0
    assert equal(changed, saved(PHOTO, "JPEG", quality=quality))


@pytest.mark.parametrize("quality", [80, 50])
def test_webp_is_lossy_webp_of_its_quality(quality: int) -> None:
    assert equal(distort(PHOTO, f"webp{quality}", 0), saved(PHOTO, "WEBP", quality=quality))


def test_lower_quality_is_farther_from_the_original() -> None:
    error = [
        float((levels(distort(PHOTO, f"jpeg{quality}", 0)) - levels(PHOTO)).var()) for quality in range(30, 100, 10)
    ]
    assert error == sorted(error, reverse=True)


def test_what_the_originals_file_said_is_not_obeyed_twice() -> None:
    image = PHOTO.copy()
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    image.info = {"exif": exif.tobytes(), "xmp": xmp, "comment": b"x" * 70_000}
    for name in ("jpeg70", "webp80"):
        assert equal(distort(image, name, 0), distort(PHOTO, name, 0))
    assert image.info["exif"]


@pytest.mark.parametrize(("name", "size"), [("jpeg70", (1, 65_501)), ("webp80", (16_384, 1))])
def test_a_picture_that_no_such_file_can_hold(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="do not fit into a") as caught:
        distort(Image.new("RGB", size), name, 0)
    assert caught.value.code is ErrorCode.TOO_MANY_PIXELS
    longest = (min(size[0], 16_383), min(size[1], 65_500))
    assert distort(Image.new("RGB", longest), name, 0).size == longest


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resize0.5", (96, 48)),
        ("resize0.75", (144, 72)),
        ("resize0.25", (48, 24)),
        ("resize2", (384, 192)),
        ("crop0.9", (173, 86)),
        ("crop0.75", (144, 72)),
        ("rotate15", (192, 96)),
        ("resize0.5-jpeg70", (96, 48)),
        ("resize0.75-webp80", (144, 72)),
    ],
)
def test_dimensions(name: str, size: tuple[int, int]) -> None:
    assert PHOTO.size == (192, 96)
    assert distort(PHOTO, name, 0).size == size


def test_resizing_keeps_the_picture_and_smooths_before_it_shrinks() -> None:
    half = distort(PHOTO, "resize0.5", 0)
    boxes = levels(PHOTO).reshape(48, 2, 96, 2, 3).mean(axis=(1, 3))
    assert np.abs(levels(half) - boxes).mean() < 6
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8)[None, :, None], (64, 32, 3)))
    assert levels(distort(stripes, "resize0.5", 0))[:, 4:-4].std() < 1  # not one of the two colours


def test_crops_take_the_middle() -> None:
    assert np.array_equal(levels(distort(PHOTO, "crop0.75", 0)), levels(PHOTO)[12:84, 24:168])


@pytest.mark.parametrize("variance", [5, 10, 25, 100])
def test_noise_has_its_variance_and_no_mean(variance: int) -> None:
    noise = levels(distort(GREY, f"gauss{variance}", 1)) - 128
    assert noise.var() == pytest.approx(variance + 1 / 12, rel=0.03)  # rounding to whole levels adds a twelfth
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert abs(np.corrcoef(noise[:, :, 0].ravel(), noise[:, :, 1].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.03
    # A Gaussian has 4.55 % outside two standard deviations.
    assert (np.abs(noise) > 2 * np.sqrt(variance)).mean() == pytest.approx(0.0455, abs=0.03)


def test_one_seed_is_one_draw_at_every_strength() -> None:
    weak, strong = (levels(distort(GREY, name, 5)).ravel() - 128 for name in ("gauss25", "gauss100"))
    assert np.corrcoef(weak, strong)[0, 1] > 0.99


def test_noise_stays_within_black_and_white() -> None:
    white = levels(distort(Image.new("RGB", (50, 50), (255, 255, 255)), "gauss100", 0))
    assert white.max() == 255
    assert white.min() > 200


def test_flip_is_left_to_right_and_its_own_inverse() -> None:
    flipped = distort(PHOTO, "flip", 0)
    assert np.array_equal(levels(flipped), levels(PHOTO)[:, ::-1])
    assert equal(distort(flipped, "flip", 0), PHOTO)


def test_rotation_is_by_fifteen_degrees_about_the_middle() -> None:
    square = np.zeros((101, 101, 3), np.uint8)
    square[50, 51:91] = 255  # from the middle to the right
    turned = levels(distort(Image.fromarray(square), "rotate15", 0)).mean(axis=2)
    rows, columns = np.nonzero(turned > 60)
    angle = np.degrees(np.arctan2(50 - rows[columns > 70], columns[columns > 70] - 50))
    assert angle.mean() == pytest.approx(15, abs=0.7)
    corners = levels(distort(Image.new("RGB", (100, 100), (255, 255, 255)), "rotate15", 0))
    assert corners[0, 0].max() == corners[-1, -1].max() == 0
    assert corners[50, 50].min() == 255


def test_sharpening_and_blur_change_detail_and_not_brightness() -> None:
    detail = [sharpness(distort(PHOTO, name, 0)) for name in ("sharpen1.5", NONE, "blur1", "blur2", "blur3", "blur5")]
    assert detail == sorted(detail, reverse=True)
    for name in ("sharpen1.5", "blur3"):
        assert levels(distort(PHOTO, name, 0)).mean() == pytest.approx(levels(PHOTO).mean(), abs=1.5)


@pytest.mark.parametrize("deviation", [1, 2, 3, 5])
def test_blur_has_its_standard_deviation(deviation: int) -> None:
    edge = np.zeros((9, 101, 3), np.uint8)
    edge[:, 51:] = 255
    spread = np.diff(levels(distort(Image.fromarray(edge), f"blur{deviation}", 0))[4, :, 0]) / 255
    place = np.arange(100)
    middle = (spread * place).sum()
    assert np.sqrt((spread * (place - middle) ** 2).sum()) == pytest.approx(deviation, rel=0.05)


@pytest.mark.parametrize(("name", "factor"), [("contrast0.7", 0.7), ("contrast1.3", 1.3)])
def test_contrast_scales_distances_from_the_mean(name: str, factor: float) -> None:
    levels_in = np.linspace(80, 180, 64).astype(np.uint8)
    ramp = Image.fromarray(np.repeat(np.tile(levels_in, (16, 1))[:, :, None], 3, axis=2))
    changed = levels(distort(ramp, name, 0))
    assert changed.std() / levels(ramp).std() == pytest.approx(factor, abs=0.02)
    assert changed.mean() == pytest.approx(levels(ramp).mean(), abs=1)


def test_sharpening_goes_half_way_beyond_the_original() -> None:
    smooth, sharp = (levels(distort(PHOTO, name, 0))[1:-1, 1:-1] for name in (NONE, "sharpen1.5"))
    dull = levels(PHOTO)
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13  # Pillow's SMOOTH, which ImageEnhance starts from
    dull = sum(kernel[y, x] * dull[y : y + 94, x : x + 190] for y in range(3) for x in range(3))
    assert np.abs((smooth + 0.5 * (smooth - dull)).clip(0, 255) - sharp).max() <= 1.5


def test_the_strip_has_its_five_conditions() -> None:
    assert STRIP == ("jpeg70", "resize0.5", "shrink512-jpeg40", "flip", "pad")
    assert all(CONDITIONS[name].name == name and CONDITIONS[name].meaning for name in STRIP)


@pytest.mark.parametrize(
    ("size", "expected"), [((1024, 700), (512, 350)), ((10, 2048), (2, 512)), ((512, 9), (512, 9))]
)
def test_shrinking_brings_the_longer_side_down_and_enlarges_nothing(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = PHOTO.resize(size)
    assert distort(image, "shrink512-jpeg40", 0).size == expected
    small = image.resize(expected, Image.Resampling.BICUBIC)
    assert equal(distort(image, "shrink512-jpeg40", 0), distort(small, "shrink512-jpeg40", 0))


@pytest.mark.parametrize("size", [(200, 100), (101, 200), (200, 1)])
def test_padding_keeps_all_of_it_in_the_middle_of_a_square(size: tuple[int, int]) -> None:
    image = PHOTO.resize(size)
    square = distort(image, "pad", 0)
    left, top = (200 - size[0]) // 2, (200 - size[1]) // 2
    assert square.size == (200, 200)
    assert equal(square.crop((left, top, left + size[0], top + size[1])), image)
    square.paste(BACKGROUND, (left, top, left + size[0], top + size[1]))
    assert square.getcolors() == [(200 * 200, (122, 116, 104))]


def test_padding_leaves_a_square_as_it_is_and_bounds_the_memory_of_a_long_one() -> None:
    square = PHOTO.resize((5000, 5000))
    assert distort(square, "pad", 0) is square
    assert distort(Image.new("RGB", (60_000, 3)), "pad", 0).size == (MAX_SQUARE, MAX_SQUARE)


@pytest.mark.parametrize("chain", ["resize0.5-jpeg70", "jpeg70-jpeg70", "resize0.75-webp80", "blur3-jpeg70"])
def test_chains_are_their_steps_in_order(chain: str) -> None:
    image = PHOTO
    for name in chain.split("-"):
        image = distort(image, name, 0)
    assert equal(distort(PHOTO, chain, 0), image)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paper", PAPER),
        ("wide", WIDE),
        ("strip", STRIP),
        ("none", ()),
        ("jpeg70", ("jpeg70",)),
        (" flip , jpeg70,flip", ("flip", "jpeg70")),
        ("webp80,paper", ("webp80", *PAPER)),
    ],
)
def test_conditions_are_read_from_text(text: str, expected: tuple[str, ...]) -> None:
    assert parse_conditions(text) == expected


@pytest.mark.parametrize("text", ["", "jpeg", "jpeg70,,flip", "JPEG70", "all"])
def test_unknown_conditions_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(UserError, match=r"paper, wide, strip, none .*jpeg70.*blur3-jpeg70") as caught:
        parse_conditions(text)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"resize0\.75-webp80"):
        distort(PHOTO, "blur", 0)
