"""The order of rows over batches, and which get a thumbnail."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fakescan.report.rows.order import Order, taken, thumbs_chosen

pytestmark = pytest.mark.unit


@given(
    st.lists(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.5, 1.0, 4.0]), max_size=9), max_size=5),
    st.integers(1, 7),
)
def test_windows_are_all_rows_in_order(batches: list[list[float]], size: int) -> None:
    keys = [np.sort(np.array(batch, np.float32)) for batch in batches]
    verdicts = [np.zeros(len(batch), np.uint8) for batch in batches]
    names = [[f"{number}.{row}" for row in range(len(batch))] for number, batch in enumerate(batches)]
    order = Order(keys, verdicts)
    expected = sorted(
        ((float(key), number, row) for number, batch in enumerate(keys) for row, key in enumerate(batch)),
    )
    found: list[str] = []
    for window in order.windows(size):
        pieces = [pa.table({"name": names[piece.batch][piece.first : piece.last]}) for piece in window.slices]
        for first in range(0, len(window.places), 2):
            found += taken(pieces, window, first, first + 2)["name"].to_pylist()
    assert found == [f"{number}.{row}" for _, number, row in expected]
    assert order.scored == sum(key <= 0 for key, *_ in expected)
    assert order.at_least()[50] == sum(key <= -0.5 for key, *_ in expected)
    assert len(order.at_least()) == 101


@given(st.lists(st.integers(0, 3), max_size=200), st.integers(0, 60))
def test_thumbnails_are_at_most_so_many_and_of_judged_images(verdicts: list[int], count: int) -> None:
    kinds: NDArray[np.uint8] = np.array(verdicts, np.uint8)
    chosen = thumbs_chosen(kinds, count)
    judged = int((kinds < 3).sum())
    assert len(chosen) == min(count, judged)
    assert (np.diff(chosen) > 0).all()
    assert (kinds[chosen] < 3).all()
    flagged = int(((kinds[chosen] == 1) | (kinds[chosen] == 2)).sum())
    assert flagged >= min(int(((kinds == 1) | (kinds == 2)).sum()), count - count // 5)
