"""What one client may cost by requests that come to nothing by its own doing.

A body has been read, and perhaps looked at by a replica, before it turns out to hold nothing that can be judged. Rates
of images do not bound that: a key may have any. So such requests have a rate of their own, for each key at each
address: who shares a key with someone that sends junk from elsewhere does not notice.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fakescan.serve.config import Limits
from fakescan.serve.gate.bounds.local_rates import LocalRates
from fakescan.serve.gate.bounds.rate_limit import Rate

BYTES_EACH = 2 * 2**20
"""Bytes that cost as much as a request by itself does."""
MAX_DELAY_S = 1.0
"""Seconds after which a client that owes is told so. One that asks again at once would otherwise do so a thousand times
a second; waiting costs it a connection, and the proxy nothing."""
_NOT_THE_CLIENTS = frozenset({"internal", "overloaded", "starting", "unavailable", "timeout", "rate_limited"})


@dataclass(frozen=True)
class Ended:
    """A request that has ended, as far as it matters here."""

    code: str
    """Code of its problem; empty for none."""
    num_bytes: int
    """Bytes that were read of it."""
    images: int
    """Images that were counted in it."""
    verdicts: int
    """Images that were judged."""
    failed: int
    """Images that could not be."""
    has_passed: bool
    """Whether it went on to a replica."""
    has_left: bool
    """Whether its client left sooner than anybody does who waits for an answer."""

    @property
    def cost(self) -> int:
        """Requests that it counts as; below 0 for one that has earned some.

        So a client half of whose images are broken is never limited.
        """
        size = self.num_bytes // BYTES_EACH
        if self._is_refused:
            return max(1, self.failed, self.images - self.verdicts) + size - self.verdicts
        if self.failed:
            return self.failed + size * self.failed // (self.failed + self.verdicts) - self.verdicts
        if self.code == "overloaded" and not self.has_passed:
            return size  # read in vain; what it asks for may be fine
        return -self.verdicts

    @property
    def _is_refused(self) -> bool:
        """Whether it is its client's own doing that there is no answer."""
        if self.code in ("", "disconnected"):
            return self.has_left
        return self.code not in _NOT_THE_CLIENTS or (self.code == "rate_limited" and self.has_passed)


class Refusals:
    """What the clients of one proxy owe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = LocalRates(clock=clock)

    def wait(self, client: tuple[str, str], limits: Limits) -> float:
        """Seconds until a client may send another request; 0.0 for now."""
        return self._rates.wait(client, _rate(limits))

    def ended(self, client: tuple[str, str], request: Ended, limits: Limits) -> None:
        """Counts a request that has ended. Nobody owes more than a minute."""
        self._rates.charge(client, _rate(limits), request.cost, max_debt=limits.refused_per_minute)


def _rate(limits: Limits) -> Rate:
    return Rate(limits.refused_per_minute / 60, max(1, limits.refused_per_minute // 10))
