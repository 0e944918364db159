"""Tuning for machines on which an engine shares two cores with the stages that feed it; on a GPU none of it is felt.

Two calls: `feed` at the start of every stage that feeds the engine, `engine_is_loaded` in the judge. What it gains on
two cores, with the model that ships, is the time to the first part beyond the bare engine's cold start: 5.3 s with it,
9.8 s without (medians of three pairs each, one after the other; `benchmarks/scan.py`, arm f, whose ceiling is 10 s).
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MAX_WAIT_S = 60.0
"""For how long the feed is held back: a model that loads for minutes leaves time for both."""
FEED_NICENESS = 15
"""Niceness of fetch, decode and write: Ray's own default for every worker."""
ENGINE_NICENESS = 19
"""Niceness of an engine that computes on the cores that feed it, once it is loaded."""
QUEUED = 0.5
"""Work that may wait between two stages, as a multiple of what the second one has in flight.

A stage pauses when as much waits behind it, so that neither the engine nor the feed is alone at the end; `connect`
makes Ray honour it.
"""
_POLL_S = 0.1

_judged: set[str] = set()
"""Runs of which this process knows that a shard has been judged."""


class FirstPart:
    """Whether a shard has been judged. Part of the actor that the driver owns."""

    def __init__(self) -> None:
        self._is_judged = False

    def report_judged(self) -> None:
        """A shard has been judged."""
        self._is_judged = True

    def is_judged(self) -> bool:
        """Whether one has been."""
        return self._is_judged


@dataclass(frozen=True)
class FirstShards:
    """Lets fetch do the first shards at once and the others when one has been judged.

    On few cores everything that the feed does meanwhile, the start of its worker processes above all, delays the engine
    and so the first results.
    """

    run_id: str
    last: int
    """The last shard that does not wait."""
    ledger: Any

    def wait(self, shard: int) -> None:
        """Return when the shard may be fetched."""
        if shard <= self.last or self.run_id in _judged:
            return
        import ray

        deadline = time.monotonic() + MAX_WAIT_S
        while not ray.get(self.ledger.is_judged.remote()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        _judged.add(self.run_id)


def feed(first_shards: FirstShards | None = None, shard: int = 0) -> None:
    """Called as a stage of the feed begins with a shard.

    A feed stops by itself when enough is waiting, while an engine with the higher priority starves itself of work: so
    the feed comes before an engine that is at work, and after one that loads.
    """
    _yield_to(FEED_NICENESS)
    if first_shards is not None:
        first_shards.wait(shard)


def engine_is_loaded() -> None:
    """Called in the process of an engine that computes on the cores that feed it."""
    _yield_to(ENGINE_NICENESS)


def _yield_to(niceness: int) -> None:
    """Let all threads of this process go after those of a lower niceness, for good: only root could take it back."""
    if os.getpriority(os.PRIO_PROCESS, 0) >= niceness:
        return
    for thread in os.listdir("/proc/self/task"):  # on Linux each thread has its own; new ones take over their parent's
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread), niceness)
