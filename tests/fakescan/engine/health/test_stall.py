"""The stall watch: silence with work in the engine ends it, and nothing else does."""

import threading
import time

import pytest

from fakescan.engine.health.stall import StallWatch

pytestmark = pytest.mark.unit


def watched(stall_s: float | None) -> tuple[StallWatch, threading.Event, list[str]]:
    heard, reasons = threading.Event(), list[str]()

    def on_stall(reason: str) -> None:
        reasons.append(reason)
        heard.set()

    return StallWatch(stall_s, on_stall), heard, reasons


def test_silence_with_work_is_reported_once() -> None:
    watch, heard, reasons = watched(0.1)
    watch.busy()
    assert heard.wait(10)
    heard.clear()
    assert not heard.wait(0.3)
    assert len(reasons) == 1
    assert "stall_s" in reasons[0]


@pytest.mark.parametrize("kind", ["idle", "alive", "closed", "patient", "never"])
def test_an_engine_that_is_not_silent_is_left_alone(kind: str) -> None:
    watch, heard, _ = watched(None if kind == "never" else 0.1)
    if kind == "patient":
        watch.allow(60)
    watch.busy()
    if kind == "idle":
        watch.idle()
    if kind == "closed":
        watch.close()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if kind == "alive":
            watch.alive()
        assert not heard.wait(0.02)
    watch.close()


def test_an_engine_that_is_asked_again_and_again_is_silent_all_the_same() -> None:
    """New requests are no sign of life."""
    watch, heard, _ = watched(0.2)
    end = time.monotonic() + 10
    while not heard.wait(0.01):
        watch.busy()
        assert time.monotonic() < end
