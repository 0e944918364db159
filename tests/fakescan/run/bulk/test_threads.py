"""Calls on threads: in order, few ahead, and over at once when nobody takes the results any more."""

import threading
from collections.abc import Iterator

import pytest

from fakescan.run.bulk.threads import on_threads

pytestmark = pytest.mark.unit


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(on_threads(lambda number: number * 2, range(1000), threads=8)) == list(range(0, 2000, 2))
    assert list(on_threads(str, (), threads=8)) == []


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield number

    results = on_threads(lambda number: number, items(), threads=4)
    assert next(results) == 0
    assert taken <= 16
    results.close()
    assert taken <= 16


def test_an_error_is_raised_in_its_turn_and_ends_the_threads() -> None:
    def call(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    results = on_threads(call, range(100), threads=2, name="test-error")
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-error")]
