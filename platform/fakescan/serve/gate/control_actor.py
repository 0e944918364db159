"""The control actor, one for all proxies: it reads the key file, keeps the rate limits, and makes the gate token.

It also knows that the server is about to stop.
"""

import secrets
import time
from pathlib import Path

from fakescan.serve.config import ServeConfig
from fakescan.serve.gate.bounds.client_address import TrustedProxies
from fakescan.serve.gate.bounds.rate_limit import Rate, SharedLimiter, TokenLease
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.keys import KeyFile, KeyRing, WatchedKeys
from fakescan.serve.operation.replica_port import keep_replica_port_private
from fakescan.serve.operation.serve_log import use_json_lines


class ControlActor:
    """Its methods return at once, so that calls are handled in the order in which they arrive."""

    def __init__(self, config: ServeConfig) -> None:
        """Reads the keys. Raises UserError where they cannot be read."""
        keep_replica_port_private()
        use_json_lines()
        self._config = config
        self._keys = None if config.keys is None else WatchedKeys(Path(config.keys))
        self._limiter = SharedLimiter()
        self._gate_token = secrets.token_hex(16)
        self._proxies = TrustedProxies(config.trusted_proxies)
        self._is_draining = False

    async def state(self) -> GateState:
        """The state that the gates work with."""
        return GateState(
            limits=self._config.limits,
            no_auth=self._config.no_auth,
            ring=KeyRing(KeyFile()) if self._keys is None else self._keys.ring(),
            gate_token=self._gate_token,
            replicas=self._config.replicas.high,
            proxies=self._proxies,
            access_log=self._config.access_log,
            otlp_endpoint=self._config.otlp_endpoint,
            is_draining=self._is_draining,
        )

    async def gate_token(self) -> str:
        """The token that replicas accept."""
        return self._gate_token

    async def drain(self) -> None:
        """Has every gate say that it is not ready any more; requests are answered as before."""
        self._is_draining = True

    async def lease(self, proxy: str, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        """See `SharedLimiter.lease`."""
        return self._limiter.lease(key_id, rate, wanted, extra, time.monotonic(), proxy=proxy)

    async def reserve(self, key_id: str, rate: Rate, tokens: int, extra: int) -> float:
        """See `SharedLimiter.reserve`."""
        return self._limiter.reserve(key_id, rate, tokens, extra, time.monotonic())
