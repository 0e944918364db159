"""Asks a scan's ledger something again and again, in a thread of the driver."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def asking(
    ledger_calls: Callable[[], list[Any]],
    answered: Callable[..., bool | None],
    *,
    name: str,
    every_s: float,
    answer_s: float,
    at_end: bool = False,
) -> Iterator[None]:
    """Meanwhile every `every_s` seconds the answers to the remote calls are passed to `answered`, until it says False.

    A ledger that does not answer in `answer_s` may be starting again, and is asked the next time. One that is gone is
    asked no more: the driver hears of it as well. With `at_end` it is asked once more as this ends.
    """
    ended = threading.Event()
    arguments = (ledger_calls, answered, ended, every_s, answer_s, at_end)
    thread = threading.Thread(target=_ask, args=arguments, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # a call that came after Ray is shut down would start another one


def _ask(
    ledger_calls: Callable[[], list[Any]],
    answered: Callable[..., bool | None],
    ended: threading.Event,
    every_s: float,
    answer_s: float,
    at_end: bool,
) -> None:
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    is_last = False
    while not is_last:
        is_last = ended.wait(every_s)
        if is_last and not at_end:
            return
        try:
            answers = ray.get(ledger_calls(), timeout=answer_s)
        except GetTimeoutError:
            continue
        except RayError:
            return
        if answered(*answers) is False:
            return
