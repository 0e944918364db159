"""Slices: how they are written, and that those of one count cover a run's shards exactly once."""

import itertools
from fractions import Fraction

import pytest
from pydantic import TypeAdapter, ValidationError

from fakescan.settings.run_slice import RunSlice, parse_slice

pytestmark = pytest.mark.unit


def slice_of(text: str) -> RunSlice:
    return RunSlice.model_validate(parse_slice(text))


@pytest.mark.parametrize("text", ["1/1", "3/8", " 10000/10000 ", "3 / 8"])
def test_a_slice_is_written_as_a_fraction(text: str) -> None:
    assert str(slice_of(text)) == text.replace(" ", "")


@pytest.mark.parametrize("value", ["", "3", "0/8", "9/8", "-1/8", "3/0", "1/10001", "3/8/2", "a/b", 3, 0.375, True, []])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises((ValueError, ValidationError)):
        RunSlice.model_validate(parse_slice(value))


def test_none_is_the_whole_run() -> None:
    assert TypeAdapter(RunSlice | None).validate_python(parse_slice(None)) is None


@pytest.mark.parametrize("shards", [0, 1, 7, 8, 1000, 3_906_251])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 1000])
def test_slices_of_one_count_cover_every_shard_once(shards: int, count: int) -> None:
    cuts = [RunSlice(number=number, count=count).shards(shards) for number in range(1, count + 1)]
    assert cuts[0][0] == 0
    assert cuts[-1][1] == shards
    assert all(before[1] == after[0] for before, after in itertools.pairwise(cuts))
    sizes = [last - first for first, last in cuts]
    assert max(sizes) - min(sizes) <= 1


def test_slices_that_do_not_overlap_share_no_shard_whatever_their_counts() -> None:
    slices = [RunSlice(number=number, count=count) for count in range(1, 9) for number in range(1, count + 1)]
    for one, other in itertools.product(slices, slices):
        common = min(Fraction(one.number, one.count), Fraction(other.number, other.count)) > max(
            Fraction(one.number - 1, one.count), Fraction(other.number - 1, other.count)
        )
        assert one.overlaps(other) == other.overlaps(one) == common
        if not common:
            for shards in (1, 5, 17, 100):
                first, second = range(*one.shards(shards)), range(*other.shards(shards))
                assert not set(first) & set(second)
