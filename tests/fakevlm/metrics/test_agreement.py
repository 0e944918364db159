"""Agreement of reviewers, against sklearn and published examples."""

import math
import random

import pytest
from sklearn.metrics import cohen_kappa_score

from fakevlm.metrics.agreement import cohen_kappa, krippendorff_alpha

pytestmark = pytest.mark.unit


def test_kappa_is_sklearns() -> None:
    rng = random.Random(3)
    pairs = [
        (word := rng.choice(("real", "fake", "unsure")), word if rng.random() < 0.7 else "fake") for _ in range(99)
    ]
    assert cohen_kappa(pairs) == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


def test_kappa_is_not_defined_without_images_or_with_one_label() -> None:
    assert math.isnan(cohen_kappa([]))
    assert math.isnan(cohen_kappa([("real", "real")] * 5))


def test_alpha_of_krippendorffs_own_example() -> None:
    """Nominal data of four observers with gaps; Krippendorff (2011), section C: 0.743."""
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    units = [[value for value in unit if value != "."] for unit in zip(*(row.split() for row in rows), strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_not_defined_without_pairs() -> None:
    assert math.isnan(krippendorff_alpha([["real"], ["fake"]]))
    assert math.isnan(krippendorff_alpha([["real", "real"]]))
