"""Starts an engine in an actor of the pool, when the ledger says so; elsewhere, where this node is no place for one."""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

from fakescan.engine.contract import Engine
from fakescan.engine.health.loading import bounded_loading
from fakescan.engine.health.processes import exit_with_children
from fakescan.scan.engines.book import BEAT_S, Order
from fakescan.scan.engines.life import EngineLife, Place, this_place
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError, one_line

logger = logging.getLogger(__name__)

_POLL_S = 2.0
"""Most seconds between two questions whether this process may load."""


class EngineNotStartedError(RuntimeError):
    """No engine in this actor: the pool starts another one in its place, where the driver lets it."""


class EngineStart:
    """The way of one process from its first word to the engine, and its beat from then on."""

    def __init__(self, ledger: Any, life: EngineLife, stall_s: float | None, start_timeout_s: float | None) -> None:
        self._ledger = ledger
        self._life = life
        self._place = this_place(stall_s)
        self._timeout_s = start_timeout_s
        self._has_shards = False
        self._beat = _Beat(ledger, life, self._place)
        self.calls = self._beat

    def load(self, checkpoint: Callable[[], Checkpoint], engine: Callable[[Checkpoint], Engine]) -> Engine:
        """The engine. Raises UserError for a setting that is wrong everywhere.

        Where it does not start, an actor that is new makes room for another one: EngineNotStartedError. One that had an
        engine has shards, which Ray gives to no other actor: its process ends, and Ray starts it again.
        """
        self._wait_for_permission()
        try:
            opened = checkpoint()
        except Exception as error:  # noqa: BLE001 - the ledger judges of it
            # Also a UserError: the driver has opened the same checkpoint, so that it is this node which is at fault.
            self._fail(error)
        try:
            with bounded_loading(self._timeout_s, self._report_failed):
                loaded = engine(opened)
        except UserError as error:
            _get(self._ledger.report_mistake.remote(one_line(error)))
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        _get(self._ledger.report_loaded.remote(self._life, self._place))
        self._beat.is_loaded = True
        return loaded

    def _wait_for_permission(self) -> None:
        while True:
            order: Order = _get(self._ledger.may_load.remote(self._life, self._place))
            self._has_shards = order.has_shards
            if order.leave is not None and not order.has_shards:
                raise EngineNotStartedError(f"no engine starts on {self._place.name}: {order.leave}")
            if order.leave is None and order.wait_s <= 0:
                return
            # One that had an engine stays: as long as it starts, the pool has no work for it.
            time.sleep(_POLL_S if order.leave is not None else min(order.wait_s, _POLL_S))

    def _fail(self, error: Exception) -> NoReturn:
        reason = f"{type(error).__name__}: {one_line(error)}" if not isinstance(error, UserError) else one_line(error)
        logger.error("the engine does not start on %s: %s", self._place.name, reason, exc_info=error)
        self._report_failed(reason)
        if self._has_shards:
            exit_with_children()
        raise EngineNotStartedError(f"no engine starts on {self._place.name}: {reason}") from error

    def _report_failed(self, reason: str) -> None:
        _get(self._ledger.report_failed.remote(self._life, self._place, reason))


class _Beat:
    """Says every `BEAT_S` that this process is alive, for as long as there is somebody who holds this."""

    def __init__(self, ledger: Any, life: EngineLife, place: Place) -> None:
        self.is_loaded = False
        self._lock = threading.Lock()
        self._calls = self._inside = 0
        end = threading.Event()
        weakref.finalize(self, end.set)
        threading.Thread(target=_say, args=(weakref.ref(self), end, ledger, life, place), daemon=True).start()

    def __enter__(self) -> None:
        with self._lock:
            self._calls += 1
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1

    @property
    def counts(self) -> tuple[int, int]:
        """How often this was entered, and how many are inside."""
        return self._calls, self._inside


def _say(beat: "weakref.ref[_Beat]", end: threading.Event, ledger: Any, life: EngineLife, place: Place) -> None:
    while not end.wait(BEAT_S):
        if (alive := beat()) is None:
            return
        ledger.report_engine.remote(life, place, alive.is_loaded, *alive.counts)
        del alive


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)
