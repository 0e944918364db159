"""Pace: how far the foretold end may be off and how far it may swing, for results that come in lumps.

The tests watch what a display would: the time left, every second. What may be wrong by how much stands in each test.
"""

import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from fakescan.terminal.pace import Pace

pytestmark = pytest.mark.unit

LUMP = 256
Arrivals = list[tuple[float, int]]


class Seen(NamedTuple):
    """What a display shows at a moment, and what is true then."""

    now: float
    left: float
    true: float
    after: int
    """Results until then."""

    @property
    def off(self) -> float:
        """By what share of the truth it is wrong."""
        return abs(self.left - self.true) / self.true


def watched(arrivals: Arrivals, *, every_s: float = 1.0) -> list[Seen]:
    """What is seen from the first result until the last."""
    pace, seen = Pace(0.0), []
    left = sum(items for _, items in arrivals)
    end, now, waiting = arrivals[-1][0], 0.0, list(arrivals)
    while now < end - every_s:
        now += every_s
        while waiting and waiting[0][0] <= now:
            at, items = waiting.pop(0)
            pace.add(at, items)
            left -= items
        shown = pace.left(left, now)
        if shown is not None:
            seen.append(Seen(now, shown, end - now, len(arrivals) - len(waiting)))
    return seen


def every(seconds: float, count: int, start: float = 0.0) -> Arrivals:
    return [(start + seconds * (number + 1), LUMP) for number in range(count)]


def largest_rise(seen: list[Seen]) -> float:
    """By how many seconds the time left rises at most from one second to the next."""
    return max(after.left - before.left for before, after in itertools.pairwise(seen))


def assert_counts_down_between_results(seen: list[Seen]) -> None:
    for before, after in itertools.pairwise(seen):
        if before.after == after.after and before.left > 2:
            assert after.left < before.left, f"at {after.now} s nothing came, and {before.left} became {after.left}"


def test_there_is_no_pace_before_the_first_result() -> None:
    pace = Pace(5.0)
    assert pace.rate is None
    assert pace.left(1000, 20.0) is None
    assert pace.paused(1e6) is None
    pace.add(15.0, 100)
    assert pace.rate == pytest.approx(10.0)
    assert pace.left(200, 15.0) is None, "others may come with it"
    assert pace.left(200, 17.0) == pytest.approx(18.0)


def test_loading_does_not_count_once_it_is_known_when_it_ended() -> None:
    pace = Pace(0.0)
    pace.restart(90.0)
    pace.add(100.0, 100)
    assert pace.rate == pytest.approx(10.0)
    pace.restart(105.0)
    assert pace.rate == pytest.approx(10.0), "an engine that is loaded later changes nothing"


def test_steady_lumps_are_foretold_from_the_first_one_on() -> None:
    """One engine, a part every 6.4 s: the end is right to one part, and it never swings."""
    seen = watched(every(6.4, 200))
    assert all(abs(one.left - one.true) <= 6.4 for one in seen)
    assert largest_rise(seen) <= 0
    assert_counts_down_between_results(seen)


def test_parts_of_many_engines_that_come_together() -> None:
    """Eight engines in step, eight parts within half a second and then none for 48 s: right to one such burst."""
    bursts = [(48.0 * (number + 1) + engine / 16, LUMP) for number in range(30) for engine in range(8)]
    seen = watched(bursts)
    assert all(abs(one.left - one.true) <= 48 for one in seen)
    assert largest_rise(seen) <= 48
    assert_counts_down_between_results(seen)


def uneven(count: int, engines: int, seconds: float, seed: int) -> Arrivals:
    """Engines that take `seconds` for a part, give or take a third."""
    draw = random.Random(seed)

    def one() -> Iterator[float]:
        now = 0.0
        while True:
            now += seconds * draw.uniform(2 / 3, 4 / 3)
            yield now

    times = sorted(itertools.chain.from_iterable(itertools.islice(one(), count) for _ in range(engines)))
    return [(at, LUMP) for at in times[:count]]


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_many_engines_that_come_in_any_order(seed: int) -> None:
    """Eight engines, each part give or take a third: within a half after two rounds, a fifth after five, an eighth
    after ten. From five rounds on it rises by a third at most, and only when a part comes.
    """
    seen = watched(uneven(400, 8, 48.0, seed))
    assert all(one.off < 1 / 2 for one in seen if one.after >= 16 and one.true > 120)
    assert all(one.off < 1 / 5 for one in seen if one.after >= 40 and one.true > 120)
    assert all(one.off < 1 / 8 for one in seen if one.after >= 80 and one.true > 300)
    later = [one for one in seen if one.after >= 40 and one.true > 120]
    assert all(after.left - before.left < before.left / 3 for before, after in itertools.pairwise(later))


def test_a_slow_start_is_forgotten_after_as_long_again() -> None:
    """The first part takes five times as long: too much is foretold at first, then less and less, and never more."""
    seen = watched([(32.0, LUMP), *every(6.4, 200, start=32.0)])
    assert seen[0].left > 3 * seen[0].true
    assert all(one.off < 0.05 for one in seen if one.now > 64 and one.true > 60)
    assert largest_rise(seen) <= 0


def test_a_doubled_speed_is_believed_after_some_minutes() -> None:
    """Engines join after ten minutes: within a third 150 s later, within a seventh 300 s later; no rise on the way."""
    seen = watched([*every(6.0, 100), *every(3.0, 600, start=600.0)])
    before = [one for one in seen if one.now == 600]
    assert before[0].off < 1.01, "it cannot know"
    assert all(one.off < 1 / 3 for one in seen if one.now > 750 and one.true > 60)
    assert all(one.off < 1 / 7 for one in seen if one.now > 900 and one.true > 60)
    assert largest_rise(seen) <= 0


def test_a_halved_speed_raises_it_in_small_steps() -> None:
    """From one second to the next by a tenth at most; within a fifth after as long as it takes to believe it."""
    seen = watched([*every(3.0, 200), *every(6.0, 300, start=600.0)])
    assert all(after.left - before.left < 0.1 * before.left + 6 for before, after in itertools.pairwise(seen))
    assert all(one.off < 1 / 5 for one in seen if one.now > 900 and one.true > 60)


def test_a_pause_moves_the_end_by_itself_and_little_more() -> None:
    """Nothing comes for two minutes: the time left stands still, and afterwards it is at most a quarter too long."""
    pause = 120.0
    seen = watched([*every(6.0, 100), *every(6.0, 100, start=600.0 + pause)])
    during = [one for one in seen if 625 < one.now <= 720]
    assert max(one.left for one in during) - min(one.left for one in during) <= 36
    assert all(600 - 42 <= one.left <= 600 + 42 for one in during), "what is left after the pause"
    afterwards = [one for one in seen if one.now > 730]
    assert all(one.left <= 1.3 * one.true + 6 for one in afterwards)
    assert all(one.off < 0.1 for one in afterwards if one.now > 1100 and one.true > 60)


def test_a_pause_is_called_one_only_when_it_is_unusual() -> None:
    pace = Pace(0.0)
    for at, items in every(10.0, 5):
        pace.add(at, items)
    assert pace.paused(50 + 29) is None
    assert pace.paused(50 + 31) == pytest.approx(31)


def test_hours_of_steady_work_are_not_upset_by_one_odd_part() -> None:
    """Eight hours in, a part takes five times as long: the end moves by less than a hundredth of what is left."""
    seen = watched([*every(6.0, 4800), (28_830.0, LUMP), *every(6.0, 4800, start=28_830.0)], every_s=5.0)
    around = [one for one in seen if 28_000 < one.now < 30_000]
    assert all(one.off < 0.01 for one in around)


def test_a_clock_that_stands_still_divides_by_nothing() -> None:
    pace = Pace(7.0)
    pace.add(7.0, 10)
    pace.add(7.0, 10)
    assert pace.rate is None
    assert pace.left(5, 7.0) is None
    pace.add(6.0, 10)
    pace.add(8.0, 10)
    assert pace.rate is not None
    assert pace.rate > 0
