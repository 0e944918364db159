"""Counts: each row once, and the same after a part's footer."""

import pytest

from fakescan.run.counts import Counts
from tests.fakescan.run.conftest import MIXED

pytestmark = pytest.mark.unit


def test_each_row_is_counted_once() -> None:
    counts = Counts.of(MIXED)
    assert counts == Counts(7, 1, 2, 1, {"denied": 2, "empty": 1})
    assert counts.failed == 3
    assert counts.most_common() == [("denied", 2), ("empty", 1)]
    assert Counts.of(MIXED.slice(0, 0)) == Counts()


def test_counts_add_up() -> None:
    whole = Counts()
    whole.add(Counts.of(MIXED))
    whole.add(Counts(4, 2, errors={"empty": 1, "poison": 1}))
    assert whole == Counts(11, 3, 2, 1, {"denied": 2, "empty": 2, "poison": 1})


def test_equally_common_errors_are_in_alphabetical_order() -> None:
    assert Counts(errors={"poison": 1, "empty": 1, "denied": 2}).most_common() == [
        ("denied", 2),
        ("empty", 1),
        ("poison", 1),
    ]


@pytest.mark.parametrize("counts", [Counts(), Counts.of(MIXED)])
def test_counts_survive_a_footer(counts: Counts) -> None:
    assert Counts.from_json(counts.to_json().encode()) == counts
