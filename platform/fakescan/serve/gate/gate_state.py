"""The state that a gate works with, and the control actor as a gate sees it."""

from dataclasses import dataclass, field
from typing import Protocol

from fakescan.serve.config import AccessLog, Limits
from fakescan.serve.gate.bounds.client_address import TrustedProxies
from fakescan.serve.gate.bounds.rate_limit import Rate, TokenLease
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
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    """Reverse proxies whose word is taken for who the client is."""
    access_log: AccessLog = field(default_factory=AccessLog)
    """Where requests are written."""
    otlp_endpoint: str | None = None
    """See `ServeConfig`."""
    is_draining: bool = False
    """Whether the server is about to stop."""

    @property
    def max_ongoing(self) -> int:
        """Requests that one gate lets in at once: what the replicas work on, and the queue before them."""
        return self.replicas * self.limits.max_ongoing_requests + self.limits.max_queued_requests


class Control(Protocol):
    """The control actor as a gate sees it."""

    async def state(self, max_age_s: float | None = None) -> GateState:
        """The newest state known; with `max_age_s` one is asked for where that is older, and waited for.

        Raises Problem (`starting`) as long as there is none.
        """
        ...

    def is_current(self, max_age_s: float) -> bool:
        """Whether the control actor has answered so lately."""
        ...

    async def lease(self, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        """See `SharedLimiter.lease`. Raises anything when the control actor does not answer."""
        ...

    async def reserve(self, key_id: str, rate: Rate, tokens: int, extra: int) -> float:
        """See `SharedLimiter.reserve`. Raises anything when the control actor does not answer."""
        ...
