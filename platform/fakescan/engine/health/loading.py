"""Bounds the time that an engine may take to load."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fakescan.engine.health.processes import exit_with_children

logger = logging.getLogger(__name__)


@contextmanager
def bounded_loading(seconds: float | None, report: Callable[[str], None] = lambda reason: None) -> Iterator[None]:
    """Ends this process when its body takes longer, and calls `report` with the reason before.

    What hangs while it loads does so in C, where no exception reaches it.
    """
    if seconds is None:
        yield
        return

    def give_up() -> None:
        reason = f"the engine has not loaded within {seconds:g} s (start_timeout_s)"
        logger.error("%s", reason)
        report(reason)
        exit_with_children()

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
