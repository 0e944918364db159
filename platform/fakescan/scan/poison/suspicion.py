"""What fetch and decode do with a shard whose process has died: its images one by one, in a child process.

Ray begins a task again, without limit, whose process has died. It tells the task how often it has: that costs nothing,
unlike a book of deaths that every shard is entered in. The number also grows with every node that is lost and every
block that is made again; a sound shard is then done with care, which takes longer and changes no row.
"""

import logging
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa

from fakescan.isolation.child import Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed
from fakescan.scan.poison.deaths import SHARD_DEATHS, Span, spans_of
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.storage.url import redact, scheme_of
from fakevlm.errors import ErrorCode

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 16
"""Attempts after which a shard stops the scan: its process dies in spite of all care, and so not of one image."""
SILENT_FILES = 4
"""Local files in a row that never end being read, after which it is their file system that does not answer."""
SILENT_MEMBERS = 3
"""Images in a row, in one file that holds many, after which the others in it are not waited for."""


_NOT_TRIED = f"not tried: {SILENT_MEMBERS} images before it in the same file did not end being read"


class DoomedShardError(RuntimeError):
    """A shard's process dies again and again, for no single image's sake; the message is one line."""


class SilentSourceError(RuntimeError):
    """Reading local files does not end; the message is one line."""


def previous_attempts() -> int:
    """How often Ray began the task before that runs in this process; 0 outside a task."""
    worker = sys.modules.get("ray._private.worker")
    if worker is None or worker.global_worker.mode != worker.WORKER_MODE:
        return 0
    return int(worker.global_worker.core_worker.get_current_task_attempt_number())  # there is no public name for it


def is_suspect(what: str) -> bool:
    """Whether a shard is to be done with care, for the process died that did so. `what`, such as `fetching`, is said.

    Raises DoomedShardError where care does not help.
    """
    attempts = previous_attempts()
    if attempts >= MAX_ATTEMPTS:
        raise DoomedShardError(
            f"{what} images was begun {attempts + 1} times in one shard, and its process ended each time, also with "
            "one image at a time in a process of its own; see whether its node has memory left"
        )
    if attempts >= SHARD_DEATHS:
        logger.warning("%s one image at a time: the process that did so was lost %d times", what, attempts)
    return attempts >= SHARD_DEATHS


def fetch_with_care(fetcher: Fetcher, rows: pa.Table, limits: WorkLimits) -> list[Fetched]:
    """What `fetcher.fetch(rows)` returns, with `poison` for each image that ends its process, or never ends, alone.

    Raises SilentSourceError when it is the source that never ends.
    """
    with Child(Timed(fetcher.fetch, limits.timeout_s), limits) as child:
        return list(_Suspects(rows, child.do, lambda row: alone(child, row)).results((0, rows.num_rows)))


Attempt = Callable[[pa.Table], list[Fetched] | Death]


class _Suspects:
    """The rows of a shard, of which some may be poison."""

    def __init__(self, rows: pa.Table, do: Attempt, do_alone: Attempt) -> None:
        self._rows, self._do, self._do_alone = rows, do, do_alone
        self._places: list[str] = [
            container or uri for uri, container in zip(rows["uri"].to_pylist(), rows["object"].to_pylist(), strict=True)
        ]
        self._silent: list[str] = []
        """Files of the images before that all did not end, in a row."""

    def results(self, span: Span) -> Iterator[Fetched]:
        """In their order. Spans that die are cut, as those of a judge's are."""
        for first, last in spans_of(span) if span[1] > span[0] else []:
            if self._is_given_up(first, last):
                yield from [_poison(_NOT_TRIED)] * (last - first)
                continue
            if last - first == 1:
                yield self._result(first)
                continue
            found = self._do(self._rows.take(list(range(first, last))))
            if isinstance(found, Death):
                yield from self.results((first, last))
            else:
                self._silent.clear()
                yield from found

    def _is_given_up(self, first: int, last: int) -> bool:
        """Whether these rows are all in a file that kept the images before them waiting for ever."""
        latest = self._silent[-SILENT_MEMBERS:]
        return len(latest) == SILENT_MEMBERS and len({*latest, *self._places[first:last]}) == 1

    def _result(self, index: int) -> Fetched:
        found = self._do_alone(self._rows.take([index]))
        if not isinstance(found, Death):
            self._silent.clear()
            return found[0]
        if not found.is_timeout:
            return _poison(found.message("fetching"))
        self._silent.append(self._places[index])
        files = {silent for silent in self._silent if scheme_of(silent) == "file"}
        if len(files) >= SILENT_FILES:
            raise SilentSourceError(
                f"the source does not answer: {len(files)} files in a row did not end being read, "
                f"the last of them {redact(self._silent[-1])}; run the same command again when it does"
            )
        return _poison(found.message("fetching"))


def _poison(message: str) -> Fetched:
    return Fetched(error_code=ErrorCode.POISON, error_message=message)
