"""Augmentation: what happens to a picture follows from seed, record and showing alone, in the shares that are set."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageChops

from fakevlm.distortion import operators
from fakevlm.distortion.augmentation import MAX_ENLARGED_PIXELS, Augmentation, Range
from fakevlm.distortion.operators import OPERATORS
from fakevlm.metrics.distortion import CONDITIONS, distort
from tests.fakevlm.forge.scenes import photograph

pytestmark = pytest.mark.unit

PHOTO = photograph(96, 3)
WIDE = tuple(
    Range(name, *of)
    for name, of in {
        "jpeg": (40, 95), "webp": (40, 95), "resize": (0.4, 1.0), "shrink": (32, 64), "crop": (0.75, 1.0),
        "gauss": (0, 25), "rotate": (-20, 20), "sharpen": (1, 2), "contrast": (0.6, 1.4), "blur": (0.3, 3.5),
        "flip": (0, 0), "pad": (0, 0),
    }.items()
)  # fmt: skip


def augmentation(probability: float = 0.5, operations: int = 2, seed: int = 0, ranges: object = WIDE) -> Augmentation:
    return Augmentation(probability, operations, ranges, seed)  # type: ignore[arg-type]


def equal(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and ImageChops.difference(first, second).getbbox() is None


def test_every_operator_of_the_robustness_table_can_be_drawn() -> None:
    steps = {step.rstrip("0123456789.") for name in CONDITIONS for step in name.split("-")}
    assert steps == set(OPERATORS)


def test_the_same_showing_of_a_record_is_the_same_picture_and_another_is_not() -> None:
    always = augmentation(1.0, operations=3)
    for sample in range(20):
        first, again = always.apply(PHOTO, sample, 0), always.apply(PHOTO, sample, 0)
        assert equal(first, again)
    draws = {always.changes(sample, showing) for sample in range(20) for showing in range(5)}
    assert len(draws) > 85, "flip and pad alone have no strength"
    assert always.changes(3, 0) != augmentation(1.0, operations=3, seed=1).changes(3, 0)
    assert equal(PHOTO, photograph(96, 3)), "the original stays as it is"


def test_shares_and_strengths_are_those_that_are_set() -> None:
    some = augmentation(0.3, operations=2)
    drawn = [some.changes(sample, 0) for sample in range(6_000)]
    changed = [changes for changes in drawn if changes]
    assert len(changed) / len(drawn) == pytest.approx(0.3, abs=0.02)
    assert Counter(map(len, changed))[1] / len(changed) == pytest.approx(0.5, abs=0.04)
    counts = Counter(change.operator for changes in changed for change in changes)
    assert set(counts) == set(OPERATORS)
    assert max(counts.values()) < 1.4 * min(counts.values())
    assert all(len({change.operator for change in changes}) == len(changes) for changes in changed)
    by_name = {one.operator: one for one in WIDE}
    for name in counts:
        strengths = [change.strength for changes in changed for change in changes if change.operator == name]
        low, high = by_name[name].low, by_name[name].high
        assert low <= min(strengths) <= max(strengths) <= high
        assert np.mean(strengths) == pytest.approx((low + high) / 2, abs=0.08 * (high - low) + 1e-9)


def test_never_more_operators_than_there_are() -> None:
    two = augmentation(1.0, operations=9, ranges=(Range("flip", 0, 0), Range("blur", 1, 1)))
    assert {len(two.changes(sample, 0)) for sample in range(50)} == {1, 2}


@pytest.mark.parametrize(
    ("operator", "strength", "condition"),
    [
        ("jpeg", 70, "jpeg70"), ("webp", 50, "webp50"), ("resize", 0.5, "resize0.5"), ("crop", 0.75, "crop0.75"),
        ("rotate", 15, "rotate15"), ("sharpen", 1.5, "sharpen1.5"), ("contrast", 0.7, "contrast0.7"),
        ("blur", 3, "blur3"), ("flip", 0, "flip"), ("pad", 0, "pad"),
    ],
)  # fmt: skip
def test_the_operators_are_those_of_the_table(operator: str, strength: float, condition: str) -> None:
    fixed = augmentation(1.0, 1, ranges=(Range(operator, strength, strength),))
    assert equal(fixed.apply(PHOTO, 0, 0), distort(PHOTO, condition, 0))


def test_noise_is_drawn_anew_for_each_showing() -> None:
    noisy = augmentation(1.0, 1, ranges=(Range("gauss", 100, 100),))
    first, second = noisy.apply(PHOTO, 0, 0), noisy.apply(PHOTO, 0, 1)
    assert not equal(first, second)
    assert equal(first, noisy.apply(PHOTO, 0, 0))


def test_noise_in_bands_is_noise_in_one_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = operators.gauss(PHOTO, 25, np.random.default_rng(1))
    monkeypatch.setattr(operators, "_BAND", 7 * PHOTO.width)
    assert equal(operators.gauss(PHOTO, 25, np.random.default_rng(1)), whole)
    draw = np.random.default_rng(1).standard_normal((PHOTO.height, PHOTO.width, 3), np.float32) * np.float32(5)
    assert np.array_equal(np.asarray(whole), np.rint(np.asarray(PHOTO) + draw).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3), (1, 65_501), (16_384, 1)])
def test_any_size_stays_an_rgb_image(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (9, 99, 200))
    without_pad = augmentation(1.0, 3, ranges=tuple(one for one in WIDE if one.operator != "pad"))
    for sample in range(60):
        changed = without_pad.apply(image, sample, 0)
        assert changed.mode == "RGB"
        assert min(changed.size) >= 1


def test_what_a_file_format_cannot_hold_is_left_out() -> None:
    only = augmentation(1.0, 1, ranges=(Range("jpeg", 50, 50),))
    image = Image.new("RGB", (1, 65_501))
    assert only.apply(image, 0, 0) is image


def test_a_large_picture_is_not_enlarged_without_bound() -> None:
    larger = augmentation(1.0, 1, ranges=(Range("resize", 2, 2),))
    image = Image.new("RGB", (MAX_ENLARGED_PIXELS // 4 // 64 + 1, 64))
    assert larger.apply(image, 0, 0) is image
    assert larger.apply(PHOTO, 0, 0).size == (2 * PHOTO.width, 2 * PHOTO.height)


def test_in_words() -> None:
    assert (
        str(augmentation(0.5, 2, ranges=WIDE[:2])) == "50 % of the samples by up to 2 of jpeg 40 to 95, webp 40 to 95"
    )
    assert str(augmentation(1.0, 1, ranges=WIDE[-2:])) == "100 % of the samples by one of flip, pad"
    assert str(augmentation(0.125, 3, ranges=WIDE[:1])) == "12.5 % of the samples by jpeg 40 to 95"
