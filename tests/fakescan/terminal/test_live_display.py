"""Displays: lines where there is no terminal, one live display where there is one, and a terminal left as it was."""

import contextlib
import io
import os
import sys
from collections.abc import Callable

import pytest

from fakescan.terminal.live_display import BarDisplay, LiveDisplay
from fakescan.terminal.stage_display import StageDisplay
from tests.screen import Screen

pytestmark = pytest.mark.unit

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Steps(BarDisplay):
    """Ten steps."""

    def _text(self) -> str:
        return f"done {self._done}"

    def _line(self) -> str:
        return f"{self._done}/{self._total}"


def test_a_line_at_the_start_and_one_at_the_end_and_none_twice() -> None:
    stream = io.StringIO()
    with Steps(10, stream=stream) as display:
        for step in range(1, 11):
            display._show(step)
    assert stream.getvalue().splitlines() == ["0/10", "10/10"]
    stream = io.StringIO()
    with Steps(10, stream=stream):
        pass
    assert stream.getvalue().splitlines() == ["0/10"]


def test_a_bar_with_numbers_and_full_percents(screen: Screen) -> None:
    with Steps(1000, done=999, unit="steps", stream=screen.stream) as display:
        display._show(999)
    assert any("━" * 31 + "┄  999/1,000  steps  99 %" in line for line in screen.lines())


def test_the_bar_says_how_far_without_colours(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with Steps(4, done=1, stream=screen.stream):
        pass
    shown = screen.read()
    assert "━" * 8 + "┄" * 24 + "  1/4  25 %" in shown
    assert "\x1b[3" not in shown


def test_a_narrow_window_has_the_numbers(make_screen: Callable[[int], Screen]) -> None:
    screen = make_screen(20)
    with Steps(1_000_000, done=10, stream=screen.stream):
        pass
    assert any("10/1,000,000  0 %" in line for line in screen.lines())


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_cursor_is_back_however_it_ends(screen: Screen, error: type[BaseException] | None) -> None:
    with contextlib.suppress(ValueError, KeyboardInterrupt), StageDisplay(stream=screen.stream) as display:
        display.stage("listing")
        if error is not None:
            raise error
    shown = screen.read()
    assert HIDE in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert shown.endswith(SHOW) or "\n" not in shown[shown.rindex(SHOW) :]


def test_a_second_ctrl_c_brings_the_cursor_back_as_well(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    display = StageDisplay(stream=screen.stream)
    with contextlib.suppress(KeyboardInterrupt), display:
        live = display._live
        assert live is not None
        stop = live.stop

        def interrupted() -> None:
            monkeypatch.setattr(live, "stop", stop)
            raise KeyboardInterrupt

        monkeypatch.setattr(live, "stop", interrupted)
    stop()
    shown = screen.read()
    assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_a_terminal_without_cursor_keys_gets_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Steps(10, stream=screen.stream) as display:
        display._show(10)
    assert screen.read() == "0/10\r\n10/10\r\n"


def test_nothing_is_said_by_a_display_that_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with StageDisplay(show=False) as display:
        display.stage("listing", lambda: 5)
    assert capfd.readouterr() == ("", "")


def test_what_is_written_to_stderr_meanwhile_does_not_silence_it(capfd: pytest.CaptureFixture[str]) -> None:
    """`connect` turns descriptor 2 away while Ray starts; the display still says where it is."""
    with StageDisplay() as display:
        kept = os.dup(2)
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        try:
            display.stage("starting Ray")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    assert capfd.readouterr().err == "starting Ray\n"


def test_a_stream_that_is_no_file_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with StageDisplay() as display:
        display.stage("starting Ray")
    assert stream.getvalue() == "starting Ray\n"


def test_the_base_says_nothing_of_its_own() -> None:
    with pytest.raises(NotImplementedError), LiveDisplay(stream=io.StringIO()) as display:
        display._say()
