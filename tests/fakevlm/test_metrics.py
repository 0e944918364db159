"""Metrics against worked values and a second way of counting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakevlm.metrics import accuracy, auroc, f1

pytestmark = pytest.mark.unit


def test_worked_values() -> None:
    truth = np.array([True, True, True, False, False])
    said = np.array([True, True, False, True, False])
    assert accuracy(truth, said) == pytest.approx(3 / 5)
    assert f1(truth, said) == pytest.approx(2 / 3)  # precision 2/3, recall 2/3
    assert f1(~truth, ~said) == pytest.approx(1 / 2)  # precision 1/2, recall 1/2
    assert auroc(truth, [0.9, 0.8, 0.3, 0.7, 0.3]) == pytest.approx((2 + 2 + 0.5) / 6)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[bool, int]]) -> None:
    fakes = [score for fake, score in pairs if fake]
    reals = [score for fake, score in pairs if not fake]
    found = auroc([fake for fake, _ in pairs], [score for _, score in pairs])
    if not fakes or not reals:
        assert math.isnan(found)
        return
    right = sum((a > b) + 0.5 * (a == b) for a in fakes for b in reals)
    assert found == pytest.approx(right / (len(fakes) * len(reals)))


def test_nothing_to_measure_is_nan_and_labels_must_be_bool() -> None:
    none = np.array([], dtype=np.bool_)
    assert math.isnan(accuracy(none, none))
    assert math.isnan(f1(none, none))
    with pytest.raises(TypeError, match="bool"):
        auroc([0, 1], [0.1, 0.2])
