"""The steady state of a scan, from the parts it wrote and the times at which their shards were fetched and decoded."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fakescan.scan.tables import PartSummary

WARM = 8
"""One part in this many, the first ones, belongs to the start-up."""


@dataclass(frozen=True)
class Window:
    """A stretch between two written parts."""

    first: PartSummary
    last: PartSummary
    rows: int
    """Rows of the parts written after the first one, up to the last one."""

    @property
    def seconds(self) -> float:
        """Between the two PUTs."""
        return self.last.written_at - self.first.written_at

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.rows / self.seconds

    @property
    def running(self) -> float:
        """Requests running in an engine step, on average. For scans with one engine."""
        before, after = self.first.engine, self.last.engine
        return float((after["running"] - before["running"]) / (after["steps"] - before["steps"]))

    @property
    def busy(self) -> float:
        """Share of the time that the engine spent in steps. For scans with one engine."""
        return float((self.last.engine["busy_s"] - self.first.engine["busy_s"]) / self.seconds)


def steady_window(
    parts: Sequence[PartSummary], fetched: Mapping[int, float], decoded: Mapping[int, float]
) -> Window | None:
    """The longest stretch between two parts in which the feed did at least as much work as the engine used up.

    While an engine starts, the feed lays up a stock of decoded shards; counting from the first part to the last would
    count their judging and not their fetching and decoding. The stock is measured in CPU seconds of fetch and decode,
    and the stretch must leave as much of it as it found. It begins after the first eighth of the parts, in which Ray
    starts the stages' worker processes. None when there is no such stretch: too few images.
    """
    parts = in_order(parts)
    parts = parts[len(parts) // WARM :]
    stocks = [_stock(parts, index, fetched, decoded) for index in range(len(parts))]
    # As much as it found, but for a quarter of a shard: the stock goes up and down by whole shards.
    slack = 0.25 * sum(part.fetch_cpu_s + part.decode_cpu_s for part in parts) / len(parts)
    found = balanced(stocks, slack)
    return None if found is None else _window(parts, *found)


def balanced(stocks: Sequence[float], slack: float) -> tuple[int, int] | None:
    """The first and last index of the longest stretch, of three at least, that leaves as much stock as it found."""
    for length in range(len(stocks) - 1, 1, -1):
        for first in range(len(stocks) - length):
            if stocks[first + length] >= stocks[first] - slack:
                return first, first + length
    return None


def _stock(
    parts: Sequence[PartSummary], index: int, fetched: Mapping[int, float], decoded: Mapping[int, float]
) -> float:
    """CPU seconds spent on shards that were not written yet when part `index` was."""
    now = parts[index].written_at
    stock = 0.0
    for part in parts[index + 1 :]:
        stock += part.fetch_cpu_s * (fetched[part.shard] <= now) + part.decode_cpu_s * (decoded[part.shard] <= now)
    return stock


def feed_cpu_ms(
    parts: Sequence[PartSummary],
    tree_cpu_s: Sequence[float],
    fetched: Mapping[int, float],
    decoded: Mapping[int, float],
) -> float:
    """CPU milliseconds per image of the whole tree of processes, in the second half of a scan.

    `tree_cpu_s`: readings at each of `parts`, in the order in which the driver heard of them. What had been fetched and
    decoded before the half began is charged to it, from the stages' own clocks.
    """
    middle = len(parts) // 2
    laid_up = _stock(parts, middle, fetched, decoded)
    rows = sum(part.counts.rows for part in parts[middle + 1 :])
    return 1e3 * (tree_cpu_s[-1] - tree_cpu_s[middle] + laid_up) / rows


def replica_rate(parts: Sequence[PartSummary]) -> float:
    """Images per second of several engines, in the time in which every one of them had work.

    From the moment each has written a part to the moment the first of them writes its last one. Rows within a part
    count evenly over the time since the engine's part before, because the engines' parts come in at the same moments.
    """
    engines: dict[str, list[PartSummary]] = {}
    for part in in_order(parts):
        engines.setdefault(part.engine["id"], []).append(part)
    begin = max(own[0].written_at for own in engines.values())
    end = min(own[-1].written_at for own in engines.values())
    return sum(_rows_until(own, end) - _rows_until(own, begin) for own in engines.values()) / (end - begin)


def _rows_until(parts: Sequence[PartSummary], at: float) -> float:
    done = 0.0
    for before, part in itertools.pairwise(parts):
        span = part.written_at - before.written_at
        done += part.counts.rows * min(1.0, max(0.0, (at - before.written_at) / span)) if span else part.counts.rows
    return done


def in_order(parts: Sequence[PartSummary]) -> list[PartSummary]:
    """By the time they were written."""
    return sorted(parts, key=lambda part: part.written_at)


def _window(parts: Sequence[PartSummary], first: int, last: int) -> Window:
    rows = sum(part.counts.rows for part in parts[first + 1 : last + 1])
    return Window(parts[first], parts[last], rows)
