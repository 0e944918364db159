"""The headers-only control: it finds what headers tell, and nothing where they tell nothing."""

import math
import sys

import numpy as np
import pytest

from fakevlm.errors import UserError
from fakevlm.metrics.header_baseline import MIN_PER_CLASS, SEPARABLE, features, headers_auroc

pytestmark = pytest.mark.unit


def test_features() -> None:
    assert features("JPEG", 2000, 1000)._asdict() == {
        "format": "JPEG",
        "width": 2000,
        "height": 1000,
        "aspect": 2.0,
        "megapixels": 2.0,
        "squareness": 0.5,
    }
    assert features("PNG", 1, 4).squareness == features("PNG", 4, 1).squareness == 0.25


@pytest.mark.parametrize("count", [MIN_PER_CLASS, 30, 200])
def test_a_format_for_each_class_separates_them(count: int) -> None:
    fake = np.arange(2 * count) % 2 == 0
    formats = ["PNG" if flag else "JPEG" for flag in fake]
    sizes = [100 + number % 7 for number in range(2 * count)]
    assert headers_auroc(fake, formats, sizes, sizes) == 1.0


def test_square_fakes_among_photographs_are_told_apart() -> None:
    """As in FakeClue: generators make squares, cameras do not; no one size tells."""
    rng = np.random.default_rng(0)
    fake = rng.random(300) < 0.6
    widths = rng.integers(200, 2000, 300)
    heights = np.where(fake & (rng.random(300) < 0.9), widths, (widths * rng.uniform(0.5, 0.9, 300)).astype(int))
    found = headers_auroc(fake, ["JPEG"] * 300, widths.tolist(), heights.tolist())
    assert SEPARABLE < 0.9 < found < 0.99


@pytest.mark.parametrize("seed", range(4))
def test_headers_that_have_nothing_to_do_with_the_class_score_a_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fake = rng.random(1500) < 0.4
    formats = rng.choice(["JPEG", "PNG", "WEBP"], 1500).tolist()
    widths, heights = rng.integers(100, 900, (2, 1500)).tolist()
    assert headers_auroc(fake, formats, widths, heights, seed=seed) == pytest.approx(0.5, abs=0.05)


def test_small_sets_stay_below_the_warning_most_of_the_time() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        widths, heights = rng.integers(100, 900, (2, 60)).tolist()
        found.append(headers_auroc(np.arange(60) % 2 == 0, ["JPEG"] * 60, widths, heights))
    assert sum(value > SEPARABLE for value in found) == 0
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_equal_headers_are_exactly_a_half_whatever_the_shares() -> None:
    fake = np.arange(113) < 31
    sources = [number // 3 for number in range(113)]
    for groups in (None, sources):
        assert headers_auroc(fake, ["PNG"] * 113, [64] * 113, [64] * 113, groups) == 0.5


def test_images_of_one_source_are_not_learned_from_and_scored() -> None:
    """Sixty videos of one size each: known frames give their class away, frames of other videos do not."""
    rng = np.random.default_rng(1)
    sizes, classes = rng.integers(200, 4000, (60, 2)), rng.permutation(60) % 2 == 0
    sources = np.repeat(np.arange(60), 20)
    fake, (widths, heights) = classes[sources], sizes[sources].T.tolist()
    names = [f"video-{source}" for source in sources]
    assert headers_auroc(fake, ["PNG"] * 1200, widths, heights) > 0.9
    assert headers_auroc(fake, ["PNG"] * 1200, widths, heights, names) == pytest.approx(0.5, abs=0.12)


def test_without_a_source_an_image_stands_alone() -> None:
    fake = np.arange(40) % 2 == 0
    formats = ["PNG" if flag else "JPEG" for flag in fake]
    assert headers_auroc(fake, formats, [9] * 40, [9] * 40, [None] * 40) == 1.0
    assert headers_auroc(fake, formats, [9] * 40, [9] * 40, ["a", "b"] * 2 + [None] * 36) == 1.0


def test_few_sources_make_fewer_folds() -> None:
    fake = np.arange(60) % 2 == 0
    formats = ["PNG" if flag else "JPEG" for flag in fake]
    for count in (4, 6):
        groups = [number % count for number in range(60)]  # half of them real, half fake
        assert headers_auroc(fake, formats, [9] * 60, [9] * 60, groups) == 1.0
    assert math.isnan(headers_auroc(fake, formats, [9] * 60, [9] * 60, [number % 2 for number in range(60)]))


@pytest.mark.parametrize("fakes", [0, 1, MIN_PER_CLASS - 1, 40 - MIN_PER_CLASS + 1, 40])
def test_too_few_of_a_class_say_nothing(fakes: int) -> None:
    assert math.isnan(headers_auroc(np.arange(40) < fakes, ["PNG"] * 40, [9] * 40, [9] * 40))
    assert math.isnan(headers_auroc(np.zeros(0, bool), [], [], []))


def test_the_same_seed_gives_the_same_value() -> None:
    rng = np.random.default_rng(5)
    fake, (widths, heights) = rng.random(200) < 0.5, rng.integers(100, 900, (2, 200)).tolist()
    first, again, other = (headers_auroc(fake, ["JPEG"] * 200, widths, heights, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(UserError, match=r"pip install fakescan\[evaluate\]"):
        headers_auroc(np.arange(40) % 2 == 0, ["PNG"] * 40, [9] * 40, [9] * 40)
