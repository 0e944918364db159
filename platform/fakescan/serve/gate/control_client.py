"""How a proxy and a replica reach the warden."""

import asyncio
import logging
import os
import secrets
import time
from collections import deque
from typing import Any

from fakescan.serve.gate.fast_path import WholeRequest, WholeResponse
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.gate.rate_limit import Rate, TokenLease
from fakescan.serve.problem import Problem

logger = logging.getLogger("ray.serve.fakescan")

APP_VARIABLE = "FAKESCAN_SERVE_APP"
"""Environment variable of the proxies with the name of the Serve application, where it is not `fakevlm`."""
APP_NAME = "fakevlm"
CONTROL = "Warden"
REPLICA = "Detector"

_REFRESH_S = 1.0
"""Age at which a view is asked for again; a disabled key goes on working for so long and a second more."""
_ANSWER_S = 2.0
"""Seconds that the warden has to answer."""


class ControlClient:
    """A proxy's view of the warden, refreshed behind the requests that use it."""

    def __init__(self) -> None:
        self._app = os.environ.get(APP_VARIABLE, APP_NAME)
        self._proxy = secrets.token_hex(8)
        self._view: GateState | None = None
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._warden: Any = None
        self._replicas: Any = None

    async def view(self) -> GateState:
        """The newest view; the first request waits for it. Raises Problem (`starting`) where there is none."""
        now = time.monotonic()
        if self._asking is None and now - self._asked_at >= _REFRESH_S:
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        if self._view is None and self._asking is not None:
            await asyncio.wait({self._asking})
        if self._view is None:
            raise Problem("starting", "the application is not deployed, or not yet")
        return self._view

    async def lease(self, key_id: str, rate: Rate, wanted: int, extra: int) -> TokenLease:
        """See `SharedLimiter.lease`."""
        lease: TokenLease = await self._handle().lease.remote(self._proxy, key_id, rate, wanted, extra)
        return lease

    async def answer(self, request: WholeRequest) -> WholeResponse:
        """See `Direct`."""
        from ray import serve

        if self._replicas is None:
            self._replicas = serve.get_deployment_handle(REPLICA, self._app)
        response = self._replicas.answer.remote(request)
        try:
            answer: WholeResponse = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        return answer

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._view = await self._handle().view.remote()
        except Exception as error:  # noqa: BLE001 - Serve raises what it likes while an application comes and goes
            self._warden = None
            if self._view is not None:
                logger.warning("the warden does not answer, the last view stays: %s", error or type(error).__name__)
        finally:
            self._asking = None

    def _handle(self) -> Any:
        from ray import serve

        if self._warden is None:
            self._warden = serve.get_deployment_handle(CONTROL, self._app)
        return self._warden


class GateTokens:
    """Which marks a replica accepts: those that the warden has said lately."""

    def __init__(self, warden: Any) -> None:
        self._warden = warden
        self._known: deque[str] = deque(maxlen=4)  # a warden that was replaced leaves gates with the mark before
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def accept(self, mark: str) -> bool:
        """Whether the mark is the gate's."""
        if not mark or mark in self._known:
            return bool(mark)
        now = time.monotonic()
        if self._asking is None and now - self._asked_at >= _REFRESH_S / 2:
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.wait({self._asking})
        return mark in self._known

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._known.append(await self._warden.token.remote())
        except Exception as error:  # noqa: BLE001 - as above
            self._asked_at = float(
                "-inf"
            )  # the next request asks again: a warden that died is replaced within a second
            logger.warning("the warden does not answer: %s", error or type(error).__name__)
        finally:
            self._asking = None
