"""The weather of a scan's stores: it says what is waited for, and stops when too much cannot be fetched."""

import os
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from fakescan.errors import JobFailedError
from fakescan.run.counts import Counts
from fakescan.scan.ledger_follower import asking
from fakescan.storage.weather.waits import RENEW_S, WAITS, Wait
from fakevlm.errors import ErrorCode

GUARDED_ROWS = 10_000
"""The latest rows that `max_fetch_error_rate` is about."""

_FETCH_CODES = (ErrorCode.FETCH_FAILED, ErrorCode.DENIED)
"""Errors of rows whose object may well be there; one that is not is no fault of its store."""

_FORGET_S = 4 * RENEW_S
_LOOK_S = 2.0
_ANSWER_S = 5.0
_MAX_SHOWN = 2


class TooFewFetchedError(JobFailedError):
    """Too many of the latest rows could not be fetched; the message is one line. The run can be resumed."""


class FetchGuard:
    """Stops a scan whose rows turn into errors, before the rest of its source does.

    Faults that a store has by itself are waited out and are no rows; so what comes here in such numbers is access that
    was taken away, an address that has changed, or a list of dead links.
    """

    def __init__(self, max_rate: float) -> None:
        self._max_rate = max_rate
        self._parts: deque[tuple[int, Counter[str]]] = deque()
        self._rows = 0
        self._failed: Counter[str] = Counter()

    def add(self, counts: Counts, examples: dict[str, str]) -> None:
        """Rows that were done now, with an example of each error. Raises `TooFewFetchedError`."""
        failed = Counter({str(code): counts.errors[code] for code in _FETCH_CODES if counts.errors.get(code)})
        self._parts.append((counts.rows, failed))
        self._rows += counts.rows
        self._failed += failed
        while self._rows - self._parts[0][0] >= GUARDED_ROWS:
            rows, earlier = self._parts.popleft()
            self._rows -= rows
            self._failed -= earlier
        count = self._failed.total()
        if self._max_rate < 1 and count > self._max_rate * GUARDED_ROWS:
            by_code = ", ".join(f"{code} {number:,}" for code, number in self._failed.most_common())
            example = next((f", e.g. {examples[code]}" for code, _ in failed.most_common() if code in examples), "")
            raise TooFewFetchedError(
                f"the scan stopped: {count:,} of the last {min(self._rows, GUARDED_ROWS):,} rows could not be fetched "
                f"({by_code}{example}), above --max-fetch-error-rate {self._max_rate:.2%}; when that is mended, "
                "the same command with --retry-errors goes on and scans them again"
            )


class StoreWaits:
    """The stores that the scan's processes wait for. Part of the actor that the driver owns."""

    def __init__(self) -> None:
        self._waits: dict[str, tuple[float, list[Wait]]] = {}

    def report_store_waits(self, process: str, waits: list[Wait]) -> None:
        """A process waits for these stores now. To be repeated, or it is forgotten: processes may die."""
        self._waits[process] = time.monotonic(), waits
        if not waits:
            del self._waits[process]

    def store_waits(self) -> list[Wait]:
        """All waits: for each store the longest, and the longest of them first."""
        now = time.monotonic()
        self._waits = {name: told for name, told in self._waits.items() if now - told[0] < _FORGET_S}
        return longest([wait for _, waits in self._waits.values() for wait in waits])


def longest(waits: list[Wait]) -> list[Wait]:
    """For each store the longest wait, the longest of them first."""
    by_store: dict[str, Wait] = {}
    for wait in sorted(waits, key=lambda wait: -wait.seconds):
        by_store.setdefault(wait.store, wait)
    return list(by_store.values())


def report_waits(ledger: Any) -> None:
    """From now on this process tells a scan's ledger which stores it waits for; nothing is sent while there is none."""
    if ledger is None:
        return
    process = f"{socket.gethostname()} {os.getpid()}"

    def report(waits: list[Wait]) -> None:
        with suppress(Exception):  # the scan has ended
            ledger.report_store_waits.remote(process, waits)

    WAITS.tell(report)


class WaitDisplay(Protocol):
    """What shows the waits."""

    @property
    def is_shown(self) -> bool:
        """Whether somebody may see it."""

    def waiting(self, texts: list[str]) -> None:
        """This is waited for now."""


@contextmanager
def shown_waits(display: WaitDisplay, ledger: Any = None) -> Iterator[None]:
    """Shows meanwhile which stores this process waits for, and those that tell it the ledger."""
    if not display.is_shown:
        yield
        return
    try:
        if ledger is None:
            WAITS.tell(lambda waits: display.waiting(_texts(waits)))
            try:
                yield
            finally:
                WAITS.tell(None)
        else:
            with asking(
                lambda: [ledger.store_waits.remote()],
                lambda waits: display.waiting(_texts(longest([*waits, *WAITS.current()]))),
                name="store-waits",
                every_s=_LOOK_S,
                answer_s=_ANSWER_S,
            ):
                yield
    finally:
        display.waiting([])


def _texts(waits: list[Wait]) -> list[str]:
    more = [f"and for {len(waits) - _MAX_SHOWN:,} more"] if len(waits) > _MAX_SHOWN else []
    return [str(wait) for wait in waits[:_MAX_SHOWN]] + more
