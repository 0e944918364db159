"""Threads work on a listing in any order, and its tables come in one."""

import random
import time
from bisect import bisect_right
from collections.abc import Iterator

import pyarrow as pa
import pytest

from fakescan.sources.listers import ordered_listing
from fakescan.sources.listers.key_ranges import find_cuts
from fakescan.sources.listers.ordered_listing import Listed, OrderedListing, Segment

pytestmark = pytest.mark.unit

PAGE = 20


class Names:
    """Names in memory, listed as a store lists them."""

    def __init__(self, names: list[str]) -> None:
        self.names = sorted(names)
        self.laid_aside = 0

    def list_segment(self, segment: Segment) -> Iterator[Listed]:
        self.laid_aside += segment.following is not None
        at = int(segment.following["at"]) if segment.following else bisect_right(self.names, segment.start)
        while True:
            page = self.names[at : at + PAGE]
            at += PAGE
            following = {"at": str(at)} if at < len(self.names) else None
            time.sleep(random.uniform(0, 0.0005))  # stores take their time, and threads turns
            yield Listed(pa.table({"uri": page}), page[-1] if page else "", 1, following)
            if following is None:
                return

    def find_cuts(self, segment: Segment) -> list[str]:
        def first_after(name: str) -> str | None:
            at = bisect_right(self.names, name)
            return self.names[at] if at < len(self.names) else None

        return find_cuts(segment.prefix, segment.position, segment.end, first_after)

    def read(self, threads: int) -> list[str]:
        listing = OrderedListing(
            self.list_segment, lambda table: table["uri"].to_pylist(), self.find_cuts, threads=threads, min_requests=2
        )
        return [name for table in listing.tables([Segment("")]) for name in table["uri"].to_pylist()]


@pytest.mark.parametrize("crowded", [0, 2**30])
@pytest.mark.parametrize("memory", [0, 2**27])
@pytest.mark.parametrize("threads", [1, 3, 16])
def test_each_name_once_and_in_order(monkeypatch: pytest.MonkeyPatch, crowded: int, memory: int, threads: int) -> None:
    monkeypatch.setattr(ordered_listing, "CROWDED_BYTES", crowded)
    monkeypatch.setattr(ordered_listing, "MAX_BYTES", memory)
    rng = random.Random(threads)
    names = Names([f"{rng.randrange(10**9):09}" for _ in range(8_000)])
    assert names.read(threads) == names.names
    if threads == 3 and crowded == memory == 0:
        assert names.laid_aside  # threads have turned back to what was waited for


def test_segments_of_many_kinds() -> None:
    def rows(segment: Segment) -> Iterator[Listed]:
        return (Listed(pa.table({"uri": [f"{segment.prefix}{number}"]})) for number in range(int(segment.prefix) % 5))

    segments = [
        Segment("", table=pa.table({"uri": [f"there {number}"]})) if number % 3 == 0 else Segment(f"{number}")
        for number in range(200)
    ]
    found = [name for table in OrderedListing(rows, threads=4).tables(segments) for name in table["uri"].to_pylist()]
    assert found == [
        name
        for number in range(200)
        for name in ([f"there {number}"] if number % 3 == 0 else [f"{number}{inner}" for inner in range(number % 5)])
    ]
