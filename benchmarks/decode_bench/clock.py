"""CPU time of small pieces of work that are compared with each other, on a machine that does other things beside."""

import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)


def cpu_ms(cases: Mapping[Key, Callable[[], Any]], rounds: int) -> dict[Key, float]:
    """CPU milliseconds of each case: the median of the rounds.

    Every round does all cases, beginning with another one: none finds the caches always as the same other one left
    them. It is this process's time, so that threads which a library starts are counted, and waiting is not.
    """
    names = list(cases)
    taken: dict[Key, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            case = cases[name]
            began = time.process_time()
            case()
            taken[name].append(1e3 * (time.process_time() - began))
    return {name: median(times) for name, times in taken.items()}
