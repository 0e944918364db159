"""Stages: what a command is doing and for how long, also where there is no terminal."""

import io
import threading
from collections.abc import Callable

import pytest

from fakescan.terminal import stage_display
from fakescan.terminal.stage_display import StageDisplay
from tests.screen import Screen

pytestmark = pytest.mark.unit


class Lines(io.StringIO):
    """A stream that tells when it has so many lines."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def write(self, text: str) -> int:
        with self.changed:
            self.changed.notify_all()
            return super().write(text)

    def wait_for(self, count: int) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: self.getvalue().count("\n") >= count, timeout=20)
        return self.getvalue().splitlines()


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten milliseconds for each second that the display waits."""
    for name in ("EARLY_LINES_S", "LATER_LINES_S", "_BRIEF_S", "_TICK_S"):
        monkeypatch.setattr(stage_display, name, getattr(stage_display, name) / 100)


def test_a_line_at_each_stage() -> None:
    stream = io.StringIO()
    with StageDisplay(stream=stream) as display:
        display.stage("checking the model", is_brief=True)
        display.stage("starting Ray")
        display.stage("loading the engine")
        display.stage("loading the engine")
    assert stream.getvalue().splitlines() == ["starting Ray", "loading the engine"], "what was over at once has none"


@pytest.mark.usefixtures("_fast")
def test_a_brief_stage_that_takes_long_has_its_line_after_all() -> None:
    stream = Lines()
    with StageDisplay(stream=stream) as display:
        display.stage("checking the model", is_brief=True)
        assert stream.wait_for(1) == ["checking the model"]


@pytest.mark.usefixtures("_fast")
def test_a_listing_that_takes_long_is_counted_now_and_then() -> None:
    stream = Lines()
    counts = iter(range(131_072, 10**9, 131_072))
    with StageDisplay(stream=stream) as display:
        display.listing(lambda: next(counts))
        lines = stream.wait_for(3)
    assert lines[:2] == ["listing the source: 131,072 objects", "listing the source: 262,144 objects"]


def test_a_terminal_shows_the_stage_its_count_and_its_time(screen: Screen) -> None:
    with StageDisplay(stream=screen.stream) as display:
        display.listing(lambda: 1_048_576)
        display.stage("starting Ray")
    shown = "\n".join(screen.lines())
    assert "listing the source: 1,048,576 objects (0 s)" in shown
    assert "starting Ray (0 s)" in shown


def test_a_terminal_of_ascii_has_a_spinner_of_ascii(
    make_screen: Callable[[int], Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = make_screen(80)
    screen.stream.reconfigure(encoding="ascii", errors="strict")  # type: ignore[attr-defined]
    with StageDisplay(stream=screen.stream) as display:
        display.stage("starting Ray")
    assert screen.read().isascii()
