"""Whether a proxy can be sent requests: that of /readyz."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.problem import Problem

logger = logging.getLogger("ray.serve.fakescan")

STATE_S = 0.25
"""Age of the control actor's word that the server is not about to stop."""
STOPPING = "the server is about to stop; send requests elsewhere"
_SEEN_S = 5.0
"""Seconds for which a response of a replica proves that one is ready."""
_PROBE_S = 3.0
"""Seconds that a replica has to answer."""
_RETRY_S = 0.25
"""Seconds for which it holds that none has answered."""

Probe = Callable[[], Awaitable[int]]
"""Status of a response: of a replica to GET /readyz, or of Serve's proxy to its own health check."""


class Readiness:
    """What is known of the replicas. However many ask at once, one of them is asked."""

    def __init__(self) -> None:
        self._seen_at = float("-inf")
        self._failed_at = float("-inf")
        self._probing: asyncio.Task[None] | None = None
        self._has_been_ready = False

    def seen(self) -> None:
        """A replica has responded.

        Under load a probe would only wait in the queue behind the requests that prove the same.
        """
        self._seen_at = time.monotonic()
        self._has_been_ready = True

    def no_replica(self, detail: str = "no replica is ready") -> Problem:
        """The refusal where there is none. A server that has been ready is not `starting` any more.

        A server that stops may have lost its control actor before this proxy has heard from it that it stops.
        """
        if self._has_been_ready:
            return Problem("unavailable", "no replica is ready any more; send requests elsewhere, or again later")
        return Problem("starting", detail)

    async def check(self, state: GateState, is_state_current: bool, proxy: Probe, replica: Probe) -> None:
        """Raises Problem unless a replica has responded lately, or does now, and neither server nor proxy is to stop.

        Without a control actor that answers, what was seen lately counts for nothing: the application may be gone.
        """
        if state.is_draining:
            raise Problem("unavailable", STOPPING)
        if await proxy() != 200:
            raise Problem("unavailable", "this node's proxy is starting or about to stop; send requests elsewhere")
        now = time.monotonic()
        if is_state_current and now - self._seen_at <= _SEEN_S:
            return
        if self._probing is None:
            if now - self._failed_at < _RETRY_S:
                raise self.no_replica()
            self._probing = asyncio.create_task(self._probe(replica))
        await asyncio.wait({self._probing})
        if time.monotonic() - self._seen_at > _PROBE_S:
            raise self.no_replica()

    async def _probe(self, replica: Probe) -> None:
        self._seen_at = float("-inf")
        try:
            async with asyncio.timeout(_PROBE_S):
                status = await replica()
        except Exception as error:  # noqa: BLE001 - as in `Gate`
            logger.info("/readyz: %s", error or type(error).__name__)
            status = 0
        finally:
            self._probing = None
        if status == 200:
            self.seen()
        else:
            self._failed_at = time.monotonic()
