"""What a gate has to know to do its work, and where it has it from."""

from dataclasses import dataclass
from typing import Protocol

from fakescan.serve.config import Limits
from fakescan.serve.gate.rate_limit import Rate, TokenLease
from fakescan.serve.keys import KeyRing


@dataclass(frozen=True)
class GateState:
    """Settings, keys and the mark, as the warden has them."""

    limits: Limits
    no_auth: bool
    ring: KeyRing
    token: str
    """The mark that replicas accept."""
    replicas: int
    """The most replicas there may be."""

    @property
    def most_ongoing(self) -> int:
        """Requests that one gate lets in at once: what the replicas work on, and the queue before them."""
        return self.replicas * self.limits.max_ongoing_requests + self.limits.max_queued_requests


class GateStateSource(Protocol):
    """Where a gate has its view and its leases from."""

    async def view(self) -> GateState:
        """The newest view. Raises Problem (`starting`) as long as there is none."""
        ...

    async def lease(self, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        """See `SharedLimiter.lease`. Raises anything when the warden does not answer."""
        ...
