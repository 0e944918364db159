"""The interval of a difference: images of one picture are not so many independent images."""

import numpy as np
import pytest

from benchmarks.augmentation import interval

pytestmark = pytest.mark.unit


def test_images_of_one_picture_count_as_one_draw() -> None:
    values = np.random.default_rng(0).normal(0, 1, 40)
    low, high = interval(np.repeat(values, 25), np.repeat(np.arange(40), 25))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.1)
    alone = interval(np.repeat(values, 25), np.arange(1_000))
    assert alone[1] - alone[0] == pytest.approx((high - low) / 5, rel=0.15)


def test_no_difference_has_no_width() -> None:
    assert interval(np.zeros(12), np.arange(12) // 3) == (0.0, 0.0)
