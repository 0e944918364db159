"""Near duplicates: copies in other sizes and formats are found, other photographs are not."""

import io
import time
import tracemalloc
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates import pairs as module
from fakevlm.near_duplicates.pairs import NearDuplicate, near_duplicates
from fakevlm.near_duplicates.phash import picture_hash
from tests.fakevlm.forge.scenes import leaves, photograph

pytestmark = pytest.mark.unit

SAMPLES = Path(__file__).parents[3] / "samples"
PHOTOGRAPHS = sorted((SAMPLES / "images").iterdir())
PAIRS = sorted((SAMPLES / "pairs").glob("*-real.*"))


def opened(path: Path) -> Image.Image:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    image.thumbnail((400, 400))  # the test is quicker
    return image


def saved(image: Image.Image, format: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format, quality=quality)
    return Image.open(file).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def hashed(image: Image.Image) -> npt.NDArray[np.uint8]:
    found = picture_hash(image)
    assert found is not None
    return found


def distance(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> int:
    return int(np.unpackbits(first ^ second).sum())


def random_hashes(count: int, seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)


def flipped(bits: npt.NDArray[np.uint8], count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A hash with that many bits changed."""
    places = np.random.default_rng(seed).choice(256, count, replace=False)
    values = np.unpackbits(bits)
    values[places] ^= 1
    return np.packbits(values)


@pytest.mark.parametrize("path", [*PHOTOGRAPHS, *PAIRS], ids=lambda path: path.name)
def test_copies_of_a_photograph_are_found(path: Path) -> None:
    image = opened(path)
    original = hashed(image)
    assert original.shape == (32,)
    assert original.dtype == np.uint8
    copies = [
        image,
        saved(image, "JPEG", 70),
        saved(image, "WEBP", 80),
        scaled(image, 0.5),
        scaled(image, 2),
        saved(scaled(image, 0.75), "JPEG", 80),
    ]
    found = near_duplicates(np.stack([hashed(copy) for copy in copies]), original[None])
    assert [match.first for match in found] == list(range(len(copies)))
    assert found[0].distance == 0


def test_different_photographs_are_not_near() -> None:
    images = [opened(path) for path in (*PHOTOGRAPHS, *PAIRS)]
    images += [photograph(128, seed) for seed in range(6)]
    hashes = [hashed(image) for image in images]
    near = {
        (first, second)
        for first, second in combinations(range(len(images)), 2)
        if distance(hashes[first], hashes[second]) <= 3 * LIMIT
    }
    assert near == set()


def test_a_picture_is_hashed_alike_in_all_sizes() -> None:
    image = Image.fromarray(leaves(500, 2))
    small = hashed(image)
    for size in ((4000, 3000), (20_000, 100), (90, 130)):
        assert distance(hashed(image.resize(size)), small) <= 16


def test_pictures_without_content_have_no_hash() -> None:
    for size in ((100, 100), (1, 1), (1, 500), (4, 4), (20_000, 1)):
        assert picture_hash(Image.new("RGB", size, (90, 20, 200))) is None


@pytest.mark.parametrize("limit", [0, 24, 110, 256])
def test_equal_to_comparing_each_with_each(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 7)
    monkeypatch.setattr(module, "_COLUMNS", 11)
    second = random_hashes(100, 1)
    first = np.concatenate([random_hashes(40, 2), [flipped(second[number], number) for number in range(60)]])
    second = np.concatenate([second, second[:30]])  # ties
    differing = np.unpackbits(first[:, None] ^ second[None], axis=2).sum(axis=2)
    expected = [
        (row, int(differing[row].argmin()), int(differing[row].min()))
        for row in range(len(first))
        if differing[row].min() <= limit
    ]
    assert near_duplicates(first, second, limit) == expected
    assert (len(expected) == 100) == (limit == 256)


def test_the_limit_is_the_last_that_is_near() -> None:
    second = random_hashes(1, 3)
    first = np.stack([flipped(second[0], LIMIT), flipped(second[0], LIMIT + 1), ~second[0]])
    assert near_duplicates(first, second) == [NearDuplicate(0, 0, LIMIT)]
    assert near_duplicates(first, second, 256)[-1] == (2, 0, 256)


def test_nothing_is_near_nothing() -> None:
    none = np.zeros((0, 32), np.uint8)
    assert near_duplicates(none, random_hashes(3, 0)) == near_duplicates(random_hashes(3, 0), none) == []


@pytest.mark.parametrize("wrong", [np.zeros((2, 31), np.uint8), np.zeros(32, np.uint8), np.zeros((2, 32), bool)])
def test_other_arrays_are_refused(wrong: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"uint8\[n, 32\]"):
        near_duplicates(wrong, random_hashes(2, 0))


def test_a_test_split_against_a_training_set_takes_seconds() -> None:
    first, second = random_hashes(500, 1), random_hashes(100_000, 2)
    second[77_777] = flipped(first[333], 20)
    tracemalloc.start()
    started = time.process_time()
    found = near_duplicates(first, second)
    assert time.process_time() - started < 6  # a tenth of 5,000 x 100,000
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert found == [(333, 77_777, 20)]
