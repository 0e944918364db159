"""The process that an engine starts in."""

import gc
import sys

import pytest
from llvmlite.binding import ffi
from numba import njit  # noqa: F401  loads all that compiled code needs

from fakescan.engine.start.imports import let_vllm_look_at_modules, without_collecting

pytestmark = pytest.mark.unit


def test_it_is_at_work_again_also_after_a_start_that_failed() -> None:
    def start() -> None:
        with without_collecting():
            assert not gc.isenabled()
            raise ValueError("no engine")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="no engine"):
        start()
    assert gc.isenabled()


def test_one_that_was_at_rest_stays_so() -> None:
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_vllm_can_look_at_all_that_numba_has_loaded() -> None:
    """As vLLM 0.32 does when a CPU engine starts (`vllm.triton_utils.dispatcher`)."""
    ffi.lib._fntab.pop("__dict__", None)
    assert not isinstance(vars(ffi.lib), dict), "over which an engine's start ends; it keeps that answer"
    let_vllm_look_at_modules()
    looked = 0
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("llvmlite", "numba", "fakevlm"):
            for value in list(vars(module).values()):
                if hasattr(value, "__dict__"):
                    vars(value).get("kernel")
                    looked += 1
    assert looked > 1000
