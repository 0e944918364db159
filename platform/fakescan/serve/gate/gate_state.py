"""The state that a gate works with, and the control actor as a gate sees it."""

from dataclasses import dataclass
from typing import Protocol

from fakescan.serve.config import Limits
from fakescan.serve.gate.rate_limit import Rate, TokenLease
from fakescan.serve.keys import KeyRing


@dataclass(frozen=True)
class GateState:
    """Settings, keys and the gate token, as the control actor has them."""

    limits: Limits
    no_auth: bool
    ring: KeyRing
    gate_token: str
    """The token that replicas accept."""
    replicas: int
    """Replicas at most."""

    @property
    def max_ongoing(self) -> int:
        """Requests that one gate lets in at once: what the replicas work on, and the queue before them."""
        return self.replicas * self.limits.max_ongoing_requests + self.limits.max_queued_requests


class Control(Protocol):
    """The control actor as a gate sees it."""

    async def state(self) -> GateState:
        """The newest state. Raises Problem (`starting`) as long as there is none."""
        ...

    async def lease(self, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        """See `SharedLimiter.lease`. Raises anything when the control actor does not answer."""
        ...
