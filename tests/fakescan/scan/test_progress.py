"""Progress of a scan: its stages, its numbers, and how it ends, with and without a terminal."""

import io
from collections.abc import Callable
from contextlib import suppress

import pytest

from fakescan.run.counts import Counts
from fakescan.scan import progress
from fakescan.scan.progress import ScanDisplay
from fakescan.scan.tables import PartSummary
from fakescan.terminal import live_display, stage_display
from fakescan.terminal.duration import duration
from tests.screen import Screen

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("plain_terminal")]


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of everything that is shown."""
    clock = Clock()
    for module in (progress, live_display, stage_display):
        monkeypatch.setattr(module, "time", clock)
    return clock


def part(rows: int, **errors: int) -> PartSummary:
    good = rows - sum(errors.values())
    return PartSummary(0, Counts(rows, good // 2, good - good // 2, errors=errors))


def test_a_scan_in_lines(clock: Clock) -> None:
    stream = io.StringIO()
    with ScanDisplay(stream=stream) as display:
        display.stage("checking source, output and model", is_brief=True)
        display.stage("starting Ray")
        clock.now += 8
        display.begin(2000, 400)
        display.engines(1, 0)
        clock.now += 12
        display.engines(1, 1)
        for _ in range(8):
            clock.now += 10
            display.add(part(100, denied=2, empty=1), 100)
        clock.now += 2
        display.stage("checking that every part exists", is_brief=True)
    assert stream.getvalue().splitlines() == [
        "starting Ray",
        "400/2,000  waiting for the engine's process",
        "400/2,000  loading the engine",
        "400/2,000  judging the first images",
        "500/2,000  10.0 img/s  elapsed 30 s  now: real 48  fake 49  uncertain 0  errors 3 (denied 2, empty 1)",
        "1,200/2,000  10.0 img/s  ETA 78 s  elapsed 2 min  "
        "now: real 384  fake 392  uncertain 0  errors 24 (denied 16, empty 8)",
    ]


def test_a_scan_that_is_cut_short_says_how_far_it_came(clock: Clock) -> None:
    stream = io.StringIO()
    display = ScanDisplay(stream=stream)
    with suppress(KeyboardInterrupt), display:
        assert display.position is None
        display.begin(300, 100)
        assert display.position == "100 of 300 rows"
        display.add(part(100), 100)
        display.add(part(50), 50)
        raise KeyboardInterrupt
    assert display.position == "250 of 300 rows"
    assert stream.getvalue().splitlines()[-1].startswith("250/300  ")


def test_rows_whose_errors_are_scanned_again_fill_the_bar_and_not_the_pace(clock: Clock) -> None:
    """A part of 100 rows of which 10 are judged again counts as 100 rows done and ten images judged."""
    stream = io.StringIO()
    with ScanDisplay(stream=stream) as display:
        display.begin(200, 100)
        clock.now += 5
        display.add(part(10), 100)
    assert stream.getvalue().splitlines()[-1].startswith("200/200  2.0 img/s  elapsed 5 s")


def test_a_pause_is_called_a_pause(clock: Clock) -> None:
    stream = io.StringIO()
    with ScanDisplay(stream=stream) as display:
        display.begin(2000, 0)
        for _ in range(4):
            clock.now += 10
            display.add(part(100), 100)
        clock.now += 300
        display._say()
    assert "no part for 5 min (10.0 img/s before)" in stream.getvalue().splitlines()[-1]


def test_a_terminal_gets_one_live_display(screen: Screen) -> None:
    with ScanDisplay(stream=screen.stream) as display:
        display.begin(200, 0)
        display.add(part(100, denied=2), 100)
        display.add(part(50, denied=1), 50)
        display.stage("stopping Ray")
    shown = screen.read()
    text = "\n".join(screen.lines())
    assert "0/200  0 %" in text
    assert "waiting for the engine's process" in text
    assert "150/200  75 %" in text
    assert "stopping Ray" in text
    assert shown.endswith("\x1b[?25h"), "the cursor is back"


@pytest.mark.parametrize("columns", [80, 120])
def test_counts_are_coloured_by_meaning_and_fit(make_screen: Callable[[int], Screen], columns: int) -> None:
    screen = make_screen(columns)
    errors = {f"an_error_code_{number}": 1000 * number for number in range(1, 13)}
    with ScanDisplay(stream=screen.stream) as display:
        display.begin(10**9, 0)
        display.add(PartSummary(0, Counts(10**8, 40_000_000, 50_000_000, 9_000_000, errors)), 10**8)
        display._refresh()
    shown = screen.read()
    for style, words in (
        ("32", "real 40,000,000"),
        ("35", "fake 50,000,000"),
        ("36", "uncertain 9,000,000"),
        ("31", "errors 78,000"),
    ):
        assert f"\x1b[{style}m{words}\x1b[0m" in shown.replace("\n", " ").replace("\r", "")
    lines = screen.lines()
    assert all(len(line) <= columns for line in lines)
    assert all(any(code in line for line in lines) for code in errors), "no code is cut"


def test_zero_errors_are_not_red(screen: Screen) -> None:
    with ScanDisplay(stream=screen.stream) as display:
        display.begin(10, 0)
        display.add(part(5), 5)
        display._refresh()
    assert "\x1b[31m" not in screen.read()
    assert any("errors 0" in line for line in screen.lines())


def test_engines_that_are_loaded_late_do_not_hide_the_numbers(clock: Clock) -> None:
    stream = io.StringIO()
    with ScanDisplay(stream=stream) as display:
        display.begin(100, 0)
        clock.now += 1
        display.add(part(50), 50)
        display.engines(2, 2)
        display.add(part(50), 50)
    assert not [line for line in stream.getvalue().splitlines() if "first images" in line]


@pytest.mark.cluster
def test_the_engines_are_followed_until_one_is_loaded(ray_cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from fakescan.scan.engines.life import EngineLife, Place
    from fakescan.scan.ledger import remote_ledger

    monkeypatch.setattr(progress, "_LOOK_S", 0.01)
    ledger = remote_ledger()
    engine = EngineLife("actor", "process"), Place("node", "its name", 1, 1, None, False)
    reached: list[tuple[int, int]] = []
    display = ScanDisplay(stream=io.StringIO())
    monkeypatch.setattr(display, "engines", lambda *numbers: reached.append(numbers))
    with display, display.following(ledger):
        ray.get(ledger.may_load.remote(*engine))
        while (1, 0) not in reached:
            pass
        ray.get(ledger.report_loaded.remote(*engine))
        while (1, 1) not in reached:
            pass
    assert reached[-1] == (1, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (720, "12 min"),
        (12_000, "3 h 20 min"),
        (86_400 * 5 + 3600 * 4, "5 d 4 h"),
    ],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
