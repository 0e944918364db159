"""What replicas do while they start, for the command that waits for them."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from fakevlm.checkpoint.progress import LINE_S, Step

logger = logging.getLogger("ray.serve.fakescan")

_NAMESPACE = b"fakescan"
_PREFIX = "serve-start/"
_PUT_S = 1.0
"""Seconds between two reports of how far one step is."""
_POLL_S = 0.5


class StartReport:
    """In a replica: logs each step of its start once, and keeps the newest where the command finds it."""

    def __init__(self, replica: str) -> None:
        self._key = f"{_PREFIX}{replica}"
        self._what = ""
        self._put_at = float("-inf")

    def __call__(self, step: Step) -> None:
        """See `Report`. A cluster that does not take it costs the line and nothing else."""
        if step.what != self._what:
            logger.info("%s", step)
        elif time.monotonic() - self._put_at < _PUT_S:
            return
        self._what = step.what
        self._put_at = time.monotonic()
        _put(self._key, f"{step.what}\n{step}")


class StartLines:
    """In the command: says what the replicas do, each step once and how far it is every ten seconds.

    A context manager around the deployment.
    """

    def __init__(self, say: Callable[[str], None], *, prefix: str = "starting") -> None:
        self._say = say
        self._prefix = prefix
        self._said_at: dict[str, float] = {}
        self._said: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="start-lines", daemon=True)

    def __enter__(self) -> Self:
        _clear()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        _clear()

    def _run(self) -> None:
        while not self._over.wait(_POLL_S):
            for report in _reports():
                self._tell(*report.split("\n", 1))

    def _tell(self, what: str, words: str) -> None:
        now = time.monotonic()
        if words in self._said or now - self._said_at.get(what, float("-inf")) < LINE_S:
            return
        self._said.add(words)
        self._said_at[what] = now
        self._say(f"{self._prefix}: {words}")


def _put(key: str, value: str) -> None:
    from ray.experimental import internal_kv

    _attempt(lambda: internal_kv._internal_kv_put(key, value, namespace=_NAMESPACE))


def _reports() -> list[str]:
    from ray.experimental import internal_kv

    keys = _attempt(lambda: internal_kv._internal_kv_list(_PREFIX, namespace=_NAMESPACE)) or []
    values = [_attempt(partial(internal_kv._internal_kv_get, key, namespace=_NAMESPACE)) for key in keys]
    return [value.decode() for value in values if value]


def _clear() -> None:
    from ray.experimental import internal_kv

    _attempt(lambda: internal_kv._internal_kv_del(_PREFIX, del_by_prefix=True, namespace=_NAMESPACE))


def _attempt(call: Callable[[], Any]) -> Any:
    """The result of a call to Ray's store of keys; None where it fails: no start depends on it."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - of Ray's core, which raises what it likes
        logger.debug("Ray's store of keys: %s", error)
        return None
