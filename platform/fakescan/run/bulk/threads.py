"""Calls a function for many items on some threads, in their order, and never far ahead of who takes the results."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Items for each thread that are worked on or wait to be taken."""


def on_threads(
    call: Callable[[Item], Result], items: Iterable[Item], *, threads: int, name: str = "fakescan-parts"
) -> Generator[Result, None, None]:
    """The results in the order of the items, of which few are in memory however many there are.

    What a call raises is raised in its turn. Closing the iterator, as Ctrl-C does, waits for the calls that run.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        for item in items:
            pending.append(pool.submit(call, item))
            if len(pending) >= _AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
