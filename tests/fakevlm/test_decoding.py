"""Decoding with less work gives the same pixels; decoding fast gives nearly the same, and says the same of the file."""

import io
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, JpegImagePlugin

from fakevlm import resampling
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import jpeg, read_image
from fakevlm.preprocess import DecodedImage, ImageSpec, decode, fit, try_decode
from fakevlm.resampling import compiled
from tests.image_bytes import orientation, picture, saved
from tests.odd_images import odd_images

pytestmark = pytest.mark.unit

MAX_PIXELS = 10**8
Array = npt.NDArray[Any]


def spec_of(edge: int, resample: int = 3) -> ImageSpec:
    return ImageSpec(shortest_edge=edge, crop=(edge, edge), resample=resample)


def whole(image: Image.Image, spec: ImageSpec) -> Array:
    """All of the image resized, and then cropped: what `fit` did before it left rows out."""
    height, width = spec.resized(image.height, image.width)
    resized = image.resize((width, height), spec.resample)
    top, left = (height - spec.height) // 2, (width - spec.width) // 2
    return np.asarray(resized.crop((left, top, left + spec.width, top + spec.height)))


SIZES = [
    (900, 600), (600, 900), (601, 1067), (1067, 601), (333, 999), (999, 333), (113, 1500), (1500, 113), (112, 900),
    (900, 112), (50, 400), (400, 50), (111, 112), (112, 113), (224, 337), (1, 60), (7, 7), (1283, 1711), (112, 112),
    (640, 3000), (97, 5000),
]  # fmt: skip


@pytest.fixture(params=["Pillow", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By whom images are resized in a test."""
    if request.param == "compiled":
        assert resampling.prepare()
    else:
        monkeypatch.setattr(resampling, "_compiled", None)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize("edge", [112, 31])
def test_leaving_out_rows_changes_no_pixel(size: tuple[int, int], resample: int, edge: int) -> None:
    image, spec = picture(*size, seed=sum(size)), spec_of(edge, resample)
    assert np.array_equal(fit(image, spec), whole(image, spec))


@pytest.mark.usefixtures("way")
def test_leaving_out_rows_changes_no_pixel_of_random_sizes() -> None:
    draw = np.random.default_rng(0)
    noise = Image.fromarray(draw.integers(0, 256, (1200, 1200, 3), dtype=np.uint8))
    compared = 0
    for _ in range(200):
        width, height = (int(side) for side in draw.integers(20, 1200, 2))
        spec = ImageSpec(
            shortest_edge=int(draw.integers(8, 200)),
            crop=(int(draw.integers(1, 200)), int(draw.integers(1, 200))),
            resample=int(draw.integers(2, 4)),
        )
        if min(spec.resized(height, width)) < max(spec.height, spec.width):
            continue  # padded, which `whole` does not know
        image = noise.crop((0, 0, width, height))
        assert np.array_equal(fit(image, spec), whole(image, spec)), (width, height, spec)
        compared += 1
    assert compared > 50


def test_compiled_code_is_used_and_takes_images_that_pillow_keeps_in_pieces() -> None:
    assert resampling.prepare()
    draw = np.random.default_rng(0)
    for size in ((3000, 2100), (2100, 3000), (4001, 997)):
        image = Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        height, width = spec_of(112).resized(image.height, image.width)
        left, top = (width - 112) // 2, (height - 112) // 2
        box = (left, top, left + 112, top + 112)
        pixels = resampling.resized_crop(image, (width, height), box, 3)
        assert pixels is not None
        assert np.array_equal(pixels, np.asarray(image.resize((width, height), 3).crop(box)))


def test_values_that_overshoot_are_clipped_as_pillow_clips_them() -> None:
    assert resampling.prepare()
    stripes = np.zeros((90, 130, 3), np.uint8)
    stripes[:, ::7], stripes[::5] = 255, 255
    image = Image.fromarray(stripes)
    for size in ((131, 91), (260, 300), (40, 41), (60, 17)):
        pixels = resampling.resized_crop(image, size, (0, 0, *size), 3)
        assert pixels is not None
        assert np.array_equal(pixels, np.asarray(image.resize(size, Image.Resampling.BICUBIC)))


def test_a_process_is_prepared_when_it_has_done_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_images", 0)
    monkeypatch.setattr(resampling, "_is_tried", False)
    monkeypatch.setattr(resampling, "_compiled", None)
    resampling.count(resampling.MANY_IMAGES - 1)
    assert resampling.resized_crop(picture(300, 200), (30, 20), (0, 0, 30, 20), 3) is None
    resampling.count(1)
    assert resampling.resized_crop(picture(300, 200), (30, 20), (0, 0, 30, 20), 3) is not None


def test_compiled_code_that_gives_other_pixels_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = compiled.resize_columns
    monkeypatch.setattr(compiled, "resize_columns", lambda *asked: right(*asked) ^ np.uint8(1))
    monkeypatch.setattr(resampling, "_is_tried", False)
    monkeypatch.setattr(resampling, "_compiled", None)
    assert not resampling.prepare()
    assert "compiled code gives other pixels than Pillow here" in caplog.text
    assert np.array_equal(fit(picture(300, 200), spec_of(112)), whole(picture(300, 200), spec_of(112)))


def test_without_a_place_for_compiled_code_pillow_goes_on(tmp_path: Path) -> None:
    """A read-only installation of somebody who has no home: the same pixels, and a line that says it."""
    copy = tmp_path / "installed"
    package = Path(resampling.__file__).parents[1]
    shutil.copytree(package, copy / "fakevlm", ignore=shutil.ignore_patterns("__pycache__", "assets"))
    program = (
        "from fakevlm import resampling; from PIL import Image; import logging; logging.basicConfig();"
        "print(resampling.prepare(), resampling.resized_crop(Image.new('RGB', (90, 90)), (9, 9), (0, 0, 9, 9), 3));"
    )
    env = {**os.environ, "PYTHONPATH": str(copy), "HOME": "/nonexistent/home", "XDG_CACHE_HOME": "/proc/none",
           "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_LOCATOR_CLASSES": "UserWideCacheLocator"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=env)
    assert done.stdout.split() == ["False", "None"], done.stderr
    assert "images are resized more slowly, to the same pixels" in done.stderr


@pytest.mark.parametrize(
    "options",
    [{}, {"quality": 30}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"restart_marker_rows": 1}],
    ids=lambda options: " ".join(options) or "plain",
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (61, 47), (640, 363)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_jpeg_is_read_as_pillow_reads_it(options: dict[str, Any], mode: str, size: tuple[int, int]) -> None:
    data = saved(picture(*size).convert(mode), "JPEG", **options)
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    image = read_image(data, max_pixels=MAX_PIXELS).rgb
    assert image.tobytes() == plain.tobytes()
    # The fourth byte that Pillow keeps of each pixel is the same as well.
    assert np.array_equal(np.asarray(image.convert("RGBA")), np.asarray(plain.convert("RGBA")))


def test_a_jpeg_that_is_longer_than_one_block_of_pillow_is_read_in_one() -> None:
    draw = np.random.default_rng(0)
    data = saved(Image.fromarray(draw.integers(0, 256, (400, 500, 3), dtype=np.uint8)), "JPEG", quality=95)
    assert len(data) > 2 * 65536
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    jpeg.prepare(image, len(data))
    assert image.decodermaxblock == len(data)
    assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()


@pytest.mark.usefixtures("way")
def test_odd_files_come_out_as_before() -> None:
    spec, compared = spec_of(16), 0
    for odd in itertools.islice(odd_images(), 0, None, 3):
        try:
            image = read_image(odd.data, max_pixels=1_000_000).rgb
        except ImageError:
            continue
        if max(image.size) < 50 * min(image.size):
            assert np.array_equal(fit(image, spec), whole(image, spec)), odd.name
            compared += 1
    assert compared > 300


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("size", [(1283, 857), (857, 1283), (1024, 1024), (901, 331)], ids=str)
def test_fast_is_nearly_the_same_picture_in_the_same_place(turn: int, size: tuple[int, int]) -> None:
    coarse = picture(9, 7, seed=3).resize(size, Image.Resampling.BICUBIC)
    data = saved(coarse, "JPEG", quality=95, exif=orientation(turn))
    exact, fast = (decode(data, spec_of(56), max_pixels=MAX_PIXELS, decoding=how) for how in ("exact", "fast"))  # type: ignore[arg-type]
    assert exact[1:] == fast[1:]  # size as displayed, format, note
    difference = np.abs(exact.pixels.astype(int) - fast.pixels)
    assert difference.any(), "it was not decoded at a reduced size"
    assert difference.mean() < 0.7
    assert difference.max() <= 6, "the picture has moved"


def test_fast_leaves_all_other_images_as_they_are() -> None:
    image, spec = picture(640, 480), spec_of(112)
    for name, data in {
        "PNG": saved(image, "PNG"), "WEBP": saved(image, "WEBP"), "small": saved(image.resize((447, 447)), "JPEG"),
    }.items():  # fmt: skip
        exact, fast = (decode(data, spec, max_pixels=MAX_PIXELS, decoding=how) for how in ("exact", "fast"))  # type: ignore[arg-type]
        assert np.array_equal(exact.pixels, fast.pixels), name
    big = saved(image, "JPEG")
    unchanged = decode(big, spec, max_pixels=MAX_PIXELS, change=ImageOps.mirror, decoding="fast")
    assert np.array_equal(unchanged.pixels, decode(big, spec, max_pixels=MAX_PIXELS, change=ImageOps.mirror).pixels)


@pytest.mark.parametrize("edges", [(448, 2), (895, 2), (896, 4), (1792, 8), (4000, 8)])
def test_fast_keeps_twice_the_pixels_of_the_input(edges: tuple[int, int]) -> None:
    edge, scale = edges
    data = saved(Image.new("RGB", (edge, edge + 64), "red"), "JPEG")
    seen: list[tuple[int, int]] = []

    def enough(width: int, height: int) -> tuple[int, int]:
        seen.append((width, height))
        return 224, 224

    content = read_image(data, max_pixels=MAX_PIXELS, enough=enough)
    assert seen == [(edge, edge + 64)]
    assert content.rgb.size == (-(-edge // scale), -(-(edge + 64) // scale))
    assert content.size == (edge, edge + 64)


def test_fast_says_the_same_of_odd_files() -> None:
    """An eighth of a cut or damaged JPEG is refused, and noted, as the whole of it is."""
    spec, reduced = spec_of(8), 0
    for odd in odd_images():
        if not odd.data.startswith(b"\xff\xd8\xff"):
            continue
        exact = try_decode(odd.data, spec, max_pixels=1_000_000)
        fast = try_decode(odd.data, spec, max_pixels=1_000_000, decoding="fast")
        assert _said(exact) == _said(fast), odd.name
        if isinstance(exact, DecodedImage) and isinstance(fast, DecodedImage):
            reduced += not np.array_equal(exact.pixels, fast.pixels)
    assert reduced > 50


def _said(outcome: DecodedImage | ImageError) -> object:
    return outcome[1:] if isinstance(outcome, DecodedImage) else (outcome.code, outcome.message)


def test_fast_counts_the_pixels_of_the_whole_image() -> None:
    data = saved(picture(1000, 1000), "JPEG")
    with pytest.raises(ImageError) as error:
        decode(data, spec_of(56), max_pixels=999_999, decoding="fast")
    assert error.value.code is ErrorCode.TOO_MANY_PIXELS


def test_fast_of_a_very_long_image_is_exact() -> None:
    data = saved(picture(64000, 20), "JPEG")
    exact, fast = (decode(data, spec_of(112), max_pixels=MAX_PIXELS, decoding=how) for how in ("exact", "fast"))  # type: ignore[arg-type]
    assert np.array_equal(exact.pixels, fast.pixels)
