"""A listing that many threads work on, and whose tables come in an order that depends on what is listed alone."""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from fakescan.sources.listers.table_spool import SpooledTable, TableSpool

MAX_BYTES = 128 * 2**20
"""Memory for tables that wait for their turn; what is more waits on the disk."""

CROWDED_BYTES = 2**30
"""Bytes on the disk from which threads leave what comes late and help with what is waited for."""

_AHEAD_BYTES = 8 * 2**20
"""How far the stretch whose turn it is may be ahead of who takes its tables."""

Place = tuple[int, ...]


class Listed(NamedTuple):
    """A table of a segment, the last name that was listed for it, and the number of pages that it took."""

    table: pa.Table
    position: str = ""
    requests: int = 1
    following: dict[str, str] | None = None
    """What brings the next page; None at the end, and where nobody but who lists it can go on."""


@dataclass(eq=False)
class Segment:
    """A stretch of a listing that one thread lists to its end: what comes after `start` up to and with `end`."""

    prefix: str
    start: str = ""
    end: str | None = None
    table: pa.Table | None = None
    """What there is already, in the place of a listing."""
    divisible: bool = True
    """Whether it may be cut into segments, which needs a listing in the order of names."""
    place: Place = ()
    position: str = ""
    """The last name that was listed."""
    requests: int = 0
    """Pages that were listed."""
    done: bool = False
    following: dict[str, str] | None = None
    """What brings the next page of one that was begun and laid aside."""
    _waiting: deque[pa.Table | SpooledTable] = field(default_factory=deque)
    _cut_from: int = 0
    """Pages after which it may be cut again."""
    _cuts: int = 0
    _is_being_cut: bool = False

    @property
    def is_range(self) -> bool:
        """Whether it is a part of what has its prefix."""
        return bool(self.start) or self.end is not None


class OrderedListing:
    """Lists segments on `threads` threads.

    `list_segment`: the tables of a segment. `names_of`: the names of a table's rows. `find_cuts`: names at which what
    is left of a segment that proves long may be cut, in their order. `min_requests`: pages after which one does. Idle
    threads cut the earliest long segment, so that what is waited for is what most threads work on.
    """

    def __init__(
        self,
        list_segment: Callable[[Segment], Iterator[Listed]],
        names_of: Callable[[pa.Table], list[str]] | None = None,
        find_cuts: Callable[[Segment], list[str]] | None = None,
        *,
        threads: int = 16,
        min_requests: int = 8,
        max_bytes: int | None = None,
    ) -> None:
        self._list_segment, self._names_of, self._find_cuts = list_segment, names_of, find_cuts
        self._threads, self._min_requests, self._max_bytes = (
            threads,
            min_requests,
            MAX_BYTES if max_bytes is None else max_bytes,
        )
        self._changed = threading.Condition()
        self._spool = TableSpool()
        self._unlisted: list[tuple[Place, Segment]] = []
        self._untaken: list[tuple[Place, Segment]] = []
        self._active: set[Segment] = set()
        self._held = 0
        self._stopped = False
        self._failures: list[BaseException] = []

    def tables(self, segments: list[Segment]) -> Iterator[pa.Table]:
        """The tables of all segments in their order, none of them empty. Raises what a thread raised."""
        for number, segment in enumerate(segments):
            segment.place = (number,)
            if segment.table is not None:
                segment.done = True
            else:
                self._unlisted.append((segment.place, segment))
            self._untaken.append((segment.place, segment))
        if self._unlisted:
            workers = min(self._threads, len(self._unlisted) if self._find_cuts is None else self._threads)
            for number in range(workers):
                threading.Thread(target=self._work, name=f"fakescan-list-{number}", daemon=True).start()
        try:
            while self._untaken:
                _, turn = self._untaken[0]
                if turn.table is not None:
                    heapq.heappop(self._untaken)
                    if turn.table.num_rows:
                        yield turn.table
                    continue
                for waiting in self._next_tables(turn):
                    table = waiting if isinstance(waiting, pa.Table) else self._spool.take(waiting)
                    if table.num_rows:
                        yield table
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            self._spool.close()

    def _next_tables(self, turn: Segment) -> list[pa.Table | SpooledTable]:
        """Tables of the segment whose turn it is; none once it has no more, and its turn is over."""
        with self._changed:
            while not turn._waiting and not turn.done and not self._failures:
                self._changed.wait()
            if self._failures:
                raise self._failures[0]
            tables = list(turn._waiting)
            turn._waiting.clear()
            self._held -= sum(table.nbytes for table in tables if isinstance(table, pa.Table))
            if not tables:
                heapq.heappop(self._untaken)
            self._changed.notify_all()
        return tables

    def _work(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                segment, is_cut = job
                if is_cut:
                    self._cut(segment)
                else:
                    self._list(segment)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that iterates
            with self._changed:
                self._failures.append(error)
                self._changed.notify_all()

    def _next_job(self) -> tuple[Segment, bool] | None:
        """The earliest segment that nobody lists, or one that is to be cut; None when there is nothing left."""
        with self._changed:
            while not self._stopped and not self._failures:
                long = self._longest() if not self._unlisted or self._is_crowded else None
                if self._unlisted and (long is None or self._unlisted[0][0] < long.place):
                    _, segment = heapq.heappop(self._unlisted)
                    self._active.add(segment)
                    return segment, False
                if not self._active:
                    return None
                if long is not None:
                    long._is_being_cut = True
                    return long, True
                self._changed.wait()
        return None

    @property
    def _is_crowded(self) -> bool:
        return self._spool.bytes > CROWDED_BYTES

    def _longest(self) -> Segment | None:
        """The earliest segment that has proved long since it was last cut."""
        if self._find_cuts is None:
            return None
        long = [
            segment
            for segment in self._active
            if segment.divisible
            and not segment._is_being_cut
            and segment.requests >= max(self._min_requests, segment._cut_from)
        ]
        return min(long, key=lambda segment: segment.place, default=None)

    def _list(self, segment: Segment) -> None:
        try:
            for listed in self._list_segment(segment):
                if not self._append(segment, listed):
                    break
        finally:
            with self._changed:
                segment.done = True
                self._active.discard(segment)
                self._changed.notify_all()

    def _append(self, segment: Segment, listed: Listed) -> bool:
        """Take a table of a segment; False when nothing more of it is wanted."""
        table, more = listed.table, True
        with self._changed:
            end = segment.end
            if self._names_of is not None and end is not None and listed.position > end:
                table = table.filter(pa.array([name <= end for name in self._names_of(table)], pa.bool_()))
                more = False
            segment.position = listed.position
            segment.requests += listed.requests
            if not table.num_rows:
                self._changed.notify_all()
                return more and not self._stopped
        spooled: SpooledTable | None = None
        while True:
            with self._changed:
                if self._stopped or self._failures:
                    return False
                is_turn = self._untaken[0][1] is segment
                own = sum(waiting.nbytes for waiting in segment._waiting if isinstance(waiting, pa.Table))
                if is_turn:
                    if own < _AHEAD_BYTES:
                        break
                elif self._held + table.nbytes <= self._max_bytes:
                    break
            if not is_turn and (spooled := self._spool.put(table)) is not None:
                break
            with self._changed:
                self._changed.wait(1.0)
        with self._changed:
            segment._waiting.append(spooled or table)
            self._held += 0 if spooled else table.nbytes
            more = more and not self._stopped and not self._lay_aside(segment, listed)
            self._changed.notify_all()
            return more

    def _lay_aside(self, segment: Segment, listed: Listed) -> bool:
        """Whether the thread of a segment is wanted earlier in the listing: what is left is for another one, later."""
        wanted = self._is_crowded and bool(self._unlisted) and self._unlisted[0][0] < segment.place
        if not wanted or listed.following is None or segment._is_being_cut:
            return False
        segment._cuts += 1
        place = (*segment.place, -segment._cuts, 0)
        rest = Segment(segment.prefix, segment.start, segment.end, divisible=segment.divisible, place=place)
        rest.position, rest.following = listed.position, listed.following
        segment.end = listed.position
        self._active.discard(segment)  # nobody is to cut it any more
        heapq.heappush(self._unlisted, (place, rest))
        heapq.heappush(self._untaken, (place, rest))
        return True

    def _cut(self, segment: Segment) -> None:
        """Cut what is left of a segment into several, unless it has been listed meanwhile."""
        assert self._find_cuts is not None
        cuts = self._find_cuts(segment)
        with self._changed:
            segment._is_being_cut = False
            segment._cut_from = 2 * segment.requests
            cuts = [cut for cut in cuts if cut > segment.position and (segment.end is None or cut < segment.end)]
            if cuts and not segment.done:
                ends = [*cuts[1:], segment.end]
                segment._cuts += 1
                for number, (start, end) in enumerate(zip(cuts, ends, strict=True)):
                    # Sorts after the segment, before what was cut off it earlier, and before the next segment.
                    place = (*segment.place, -segment._cuts, number)
                    new = Segment(segment.prefix, start, end, divisible=True, place=place)
                    heapq.heappush(self._unlisted, (place, new))
                    heapq.heappush(self._untaken, (place, new))
                segment.end = cuts[0]
            self._changed.notify_all()
