"""The collector of garbage while an engine starts."""

import gc

import pytest

from fakescan.engine.start.imports import without_collecting

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
