"""Holds the feed back while an engine loads on the very cores that feed it."""

import time
from dataclasses import dataclass
from typing import Any

MAX_WAIT_S = 60.0
"""For how long the feed is held back: a model that loads for minutes leaves time for both."""
_POLL_S = 0.1

_open: set[str] = set()
"""Runs whose gate this process has seen open."""


class FirstPart:
    """Opens once, when the first shard has been judged. Part of the driver's ledger."""

    def __init__(self) -> None:
        self._open = False

    def open_gate(self) -> None:
        """A shard has been judged."""
        self._open = True

    def gate_is_open(self) -> bool:
        """Whether one has."""
        return self._open


@dataclass(frozen=True)
class HeadStart:
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
        if shard <= self.last or self.run_id in _open:
            return
        import ray

        deadline = time.monotonic() + MAX_WAIT_S
        while not ray.get(self.ledger.gate_is_open.remote()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        _open.add(self.run_id)
