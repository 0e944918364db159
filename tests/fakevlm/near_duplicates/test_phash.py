"""Copies of a picture have hashes that differ in few bits, other pictures' differ in many."""

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.phash import phash
from fakevlm.preprocess import ImageSpec, try_decode

pytestmark = pytest.mark.unit

SAMPLES = sorted((Path(__file__).parents[3] / "samples" / "images").iterdir())
SPEC = ImageSpec(shortest_edge=336, crop=(336, 336))


def seen(data: bytes) -> NDArray[np.uint8]:
    """The pixels that the model gets."""
    image = try_decode(data, SPEC, max_pixels=10**8)
    pixels: NDArray[np.uint8] = image.pixels  # type: ignore[union-attr]
    return pixels


def saved(image: Image.Image, quality: int = 95) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.convert("RGB").resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS
    )


def distance(first: str | None, second: str | None) -> int:
    assert first is not None
    assert second is not None
    return (int(first, 16) ^ int(second, 16)).bit_count()


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 70": lambda image: saved(image, 70),
    "512 pixels, JPEG 40": lambda image: saved(scaled(image, 512 / image.width), 40),
    "half size": lambda image: saved(scaled(image, 0.5)),
    "brighter": lambda image: saved(ImageEnhance.Brightness(image.convert("RGB")).enhance(1.2)),
    "grey": lambda image: saved(image.convert("L")),
}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [ImageOps.exif_transpose(Image.open(path)) for path in SAMPLES]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_within_the_limit(pictures: list[Image.Image], change: str) -> None:
    for path, picture in zip(SAMPLES, pictures, strict=True):
        assert distance(phash(seen(saved(picture))), phash(seen(CHANGES[change](picture)))) <= LIMIT, path.name


def test_other_pictures_are_far_beyond_it(pictures: list[Image.Image]) -> None:
    hashes = [phash(seen(saved(picture))) for picture in pictures]
    assert min(distance(*pair) for pair in combinations(hashes, 2)) > 3 * LIMIT


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_a_blank_picture_has_none(noise: float) -> None:
    pixels = np.random.default_rng(0).normal(200, noise, (336, 336, 3))
    assert phash(pixels.clip(0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("side", [14, 28, 127, 128, 129, 384])
def test_any_size_of_input(side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    hashed = phash(pixels)
    assert hashed is None or len(bytes.fromhex(hashed)) == 32
    assert hashed == phash(pixels)


def test_it_is_imagehash_bit_by_bit() -> None:
    import imagehash

    draw = np.random.default_rng(0)
    blocks = [draw.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (64, 112, 113, 224, 336)]
    smooth = [
        np.asarray(Image.fromarray(block[:9, :9]).resize((edge, edge), Image.Resampling.BICUBIC))
        for block in blocks
        for edge in (100, 112, 336)
    ]
    ramp = np.repeat(np.linspace(0, 255, 112).astype(np.uint8)[:, None], 112, axis=1)
    symmetric = [np.stack([square] * 3, axis=2) for square in (ramp, ramp.T, np.minimum(ramp, ramp[::-1]))]
    board = np.kron(np.indices((7, 7)).sum(axis=0) % 2, np.ones((16, 16))).astype(np.uint8) * 255
    samples = [seen(path.read_bytes()) for path in SAMPLES]
    for pixels in (*blocks, *smooth, *symmetric, np.stack([board] * 3, axis=2), *samples):
        image = Image.fromarray(np.ascontiguousarray(pixels))
        grey = (image.reduce(2) if min(image.size) >= 128 else image).convert("L")
        assert phash(pixels) == str(imagehash.phash(grey, hash_size=16))
