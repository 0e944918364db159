"""What an engine's start needs of this process: no collector of garbage, and modules that vLLM can look at."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Meanwhile nothing is collected; `keep_imported` may be called within.

    There is none, and looking for it takes a third of the time: vLLM's imports make two million objects, all of which
    stay. Python goes through them again and again as they grow in number, and vLLM itself asks for whole collections
    while it loads: 3.5 of 10.4 CPU seconds of a start.
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


def let_vllm_look_at_modules() -> None:
    """To be called before an engine is made: it may start in a process that has loaded Numba, as ours for resizing.

    vLLM 0.32 asks everything that any module holds for its `__dict__` (`vllm.triton_utils.dispatcher`, CPU engines).
    llvmlite's library takes any name for a function of its own, keeps that and answers with it, over which the start
    ends. Whoever has asked before has left such an answer, which is replaced.
    """
    ffi = sys.modules.get("llvmlite.binding.ffi")
    functions = getattr(getattr(ffi, "lib", None), "_fntab", None)
    if isinstance(functions, dict):
        functions["__dict__"] = {}
