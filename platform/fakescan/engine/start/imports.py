"""Imports and loads an engine without the collector of garbage, which finds none and takes a third of the time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Meanwhile nothing is collected; `keep_imported` may be called within.

    vLLM's imports make two million objects, all of which stay. Python looks through them again and again as they grow
    in number, and vLLM itself asks for whole collections while it loads: 3.5 of 10.4 CPU seconds of a start.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep_imported() -> None:
    """Has later collections pass over all that exists now; `gc.unfreeze` takes it back."""
    gc.freeze()
