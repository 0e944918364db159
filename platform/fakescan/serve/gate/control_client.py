"""How a proxy and a replica reach the control actor."""

import asyncio
import logging
import os
import secrets
import time
from collections import deque
from typing import Any

from fakescan.serve.gate.bounds.rate_limit import Rate, TokenLease
from fakescan.serve.gate.fast_path import WholeRequest, WholeResponse
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.gate.resend import LOST, may_be_resent
from fakescan.serve.problem import Problem

logger = logging.getLogger("ray.serve.fakescan")

APP_VARIABLE = "FAKESCAN_SERVE_APP"
"""Environment variable of the proxies with the name of the Serve application, where it is not `fakevlm`."""
APP_NAME = "fakevlm"
CONTROL = "Control"
REPLICA = "Detector"

_REFRESH_S = 1.0
"""Age at which a state is asked for again, behind the request that uses it."""
_STALE_S = 2.0
"""Age from which on a request waits for a newer state; a disabled key goes on working for so long and a second more."""
_WAIT_S = 1.0
"""Seconds that such a request waits at most."""
_TIMEOUT_S = 2.0
"""Seconds that the control actor has to answer."""
NOTICE_S = _STALE_S
"""Seconds after which no gate answers a request by what the control actor said before."""


class ControlClient:
    """The control actor as a proxy sees it.

    A busy proxy's state is refreshed behind the requests that use it; an idle one's before the first one uses it.
    """

    def __init__(self) -> None:
        self._app = os.environ.get(APP_VARIABLE, APP_NAME)
        self._proxy = secrets.token_hex(8)
        self._state: GateState | None = None
        self._refreshed_at = float("-inf")
        self._heard_at = float("-inf")
        self._silent_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self._control: Any = None
        self._replicas: Any = None

    async def state(self, max_age_s: float | None = None) -> GateState:
        """See `Control.state`; the first request waits for one, and one that finds an old one for a moment."""
        now = time.monotonic()
        age_s = _REFRESH_S if max_age_s is None else min(max_age_s, _REFRESH_S)
        if self._refreshing is None and now - self._refreshed_at >= age_s:
            self._refreshed_at = now
            self._refreshing = asyncio.create_task(self._refresh())
        if self._refreshing is not None and (self._state is None or max_age_s is not None):
            await asyncio.wait({self._refreshing})
        elif self._refreshing is not None and self._is_stale(now):
            done, _ = await asyncio.wait({self._refreshing}, timeout=_WAIT_S)
            if not done:
                self._silent_at = time.monotonic()
        if self._state is None:
            raise Problem("starting", "the application is not deployed yet")
        return self._state

    def _is_stale(self, now: float) -> bool:
        """Whether the state is too old to be used, and the control actor has not just failed to give a newer one."""
        # A busy proxy asks again, and in vain again, within _TIMEOUT_S and a moment: none of its requests waits.
        return now - self._heard_at >= _STALE_S and now - self._silent_at >= _STALE_S + _TIMEOUT_S

    def is_current(self, max_age_s: float) -> bool:
        """See `Control.is_current`."""
        return time.monotonic() - self._heard_at <= max_age_s

    async def lease(self, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        """See `SharedLimiter.lease`."""
        lease: TokenLease = await self._handle().lease.remote(self._proxy, key_id, rate, wanted, extra)
        return lease

    async def reserve(self, key_id: str, rate: Rate, tokens: int, extra: int) -> float:
        """See `SharedLimiter.reserve`."""
        wait: float = await self._handle().reserve.remote(key_id, rate, tokens, extra)
        return wait

    async def call_replica(self, request: WholeRequest) -> WholeResponse:
        """See `FastPath`. A request whose replica is lost goes to another one, once."""
        from ray import serve
        from ray.exceptions import RayActorError

        if self._replicas is None:
            self._replicas = serve.get_deployment_handle(REPLICA, self._app)
        try:
            return await self._call(request)
        except RayActorError:
            if not may_be_resent(request.method, request.path):
                raise
            logger.warning(LOST)
        return await self._call(request)

    async def _call(self, request: WholeRequest) -> WholeResponse:
        call = self._replicas.respond.remote(request)
        try:
            response: WholeResponse = await call
        except asyncio.CancelledError:
            call.cancel()
            raise
        return response

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self._state = await self._handle().state.remote()
            self._heard_at = time.monotonic()
        except Exception as error:  # noqa: BLE001 - Serve raises what it likes while an application comes and goes
            self._control = None
            self._silent_at = time.monotonic()
            if self._state is not None:
                logger.warning(
                    "the control actor does not answer, the last state stays in force: %s",
                    error or type(error).__name__,
                )
        finally:
            self._refreshing = None

    def _handle(self) -> Any:
        from ray import serve

        if self._control is None:
            self._control = serve.get_deployment_handle(CONTROL, self._app)
        return self._control


def announce_draining(*, timeout_s: float = _TIMEOUT_S) -> None:
    """Has every gate answer /readyz with 503 from now on, so that no new clients are sent here; requests still pass.

    Within NOTICE_S every gate knows.

    For the process that stops the server, before it does. Never raises: a server without a control actor stops as well.
    """
    from ray import serve

    try:
        serve.get_deployment_handle(CONTROL, os.environ.get(APP_VARIABLE, APP_NAME)).drain.remote().result(
            timeout_s=timeout_s
        )
    except Exception as error:  # noqa: BLE001 - Serve raises what it likes
        logger.warning("the gates do not know that the server stops: %s", error or type(error).__name__)


class GateTokens:
    """The gate tokens that a replica accepts: those that the control actor has given lately."""

    def __init__(self, control: Any) -> None:
        self._control = control
        # Gates go on with the token of a control actor that was replaced until they hear from the new one.
        self._accepted: deque[str] = deque(maxlen=4)
        self._refreshed_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    async def accept(self, gate_token: str) -> bool:
        """Whether the token is the gate's."""
        if not gate_token or gate_token in self._accepted:
            return bool(gate_token)
        now = time.monotonic()
        if self._refreshing is None and now - self._refreshed_at >= _REFRESH_S / 2:
            self._refreshed_at = now
            self._refreshing = asyncio.create_task(self._refresh())
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing})
        return gate_token in self._accepted

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self._accepted.append(await self._control.gate_token.remote())
        except Exception as error:  # noqa: BLE001 - as above
            # The next request asks again: a control actor that died is replaced within a second.
            self._refreshed_at = float("-inf")
            logger.warning("the control actor does not answer: %s", error or type(error).__name__)
        finally:
            self._refreshing = None
