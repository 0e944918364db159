"""A limit of time that ends the whole process: nothing else ends C code that never returns.

with time_limit(120):
    for image in images:
        decode(image)
        renew()

The kernel counts, so it costs a system call per image and holds although C code keeps Python's lock. On time the
process says on stderr where it was, and dies of SIGALRM.
"""

import asyncio
import faulthandler
import math
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")

_TICK_S = 1.0

Alarm = Callable[[float], float]
"""Sets in how many seconds the process is to end, instead of what was set before: infinity while the limit does not
count, 0 when there is none any more. Returns the seconds that were left until another's alarm, 0 without one."""


def _kernel_alarm(seconds: float) -> float:
    return signal.setitimer(signal.ITIMER_REAL, 0 if math.isinf(seconds) else seconds)[0]


class _State:
    """Of this process: there is one such timer for all of its threads."""

    def __init__(self) -> None:
        self.alarm: Alarm = _kernel_alarm
        self.is_prepared = False
        self.limit_s = 0.0
        """The limit that holds now, 0 without one."""
        self.inside = 0
        """Blocks that it holds for."""
        self.others = self.others_at = 0.0
        """Seconds that were left until the alarm of somebody else when the first block began, and when that was."""
        self.lock = threading.Lock()


_state = _State()


def use_alarm(alarm: Alarm) -> None:
    """Have another alarm end this process from now on, such as its parent."""
    _state.alarm, _state.is_prepared = alarm, True


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Ends this process when the block lasts longer, counted from its start or from the latest `renew`.

    Blocks of several threads at once share the longest of their limits, and it counts from the latest `renew` of any:
    one that never ends is found when the others have. An alarm that somebody else has set goes on afterwards.
    """
    _prepare()
    started = time.monotonic()
    with _state.lock:
        is_first = not _state.inside
        _state.inside += 1
        _state.limit_s = max(_state.limit_s, seconds)
        others = _state.alarm(_state.limit_s)
        if is_first:
            _state.others, _state.others_at = others, started
    try:
        yield
    finally:
        with _state.lock:
            _state.inside -= 1
            if _state.inside:
                _state.alarm(_state.limit_s)
            else:
                _state.limit_s = 0.0
                others = _state.others - (time.monotonic() - _state.others_at)
                _state.alarm(max(others, 0.001) if _state.others else 0.0)


def renew() -> None:
    """The work goes on: count from here. From any thread."""
    if _state.limit_s:
        _state.alarm(_state.limit_s)


@contextmanager
def uncounted(*, unless: bool = False) -> Iterator[None]:
    """Does not count the block, in which a store is waited for that has limits of its own; then counts from there.

    With `unless` the block does count.
    """
    if _state.limit_s and not unless:
        _state.alarm(math.inf)
    try:
        yield
    finally:
        renew()


async def while_responsive(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, whose own limits hold: counted is only for how long its event loop stands still."""

    async def tick() -> None:
        while True:
            renew()
            await asyncio.sleep(_TICK_S)

    ticking = asyncio.ensure_future(tick())
    try:
        return await work
    finally:
        ticking.cancel()


@dataclass(frozen=True)
class Timed(Generic[Item, Result]):
    """Work on one item, with a limit of time. Pickles if the work does."""

    work: Callable[[Item], Result]
    seconds: float

    def __call__(self, item: Item) -> Result:
        """The work's result."""
        with time_limit(self.seconds):
            return self.work(item)


def _prepare() -> None:
    """Have the process say where it was, and die, on SIGALRM."""
    if _state.is_prepared:
        return
    _state.is_prepared = True
    on_main_thread = threading.current_thread() is threading.main_thread()
    if on_main_thread and signal.getsignal(signal.SIGALRM) is signal.SIG_IGN:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # It writes from the signal handler, in C; `chain` has the signal do then what it would have done.
    faulthandler.register(signal.SIGALRM, file=2, all_threads=True, chain=True)
