"""Progress: plain lines where there is no terminal, one live display where there is one."""

import contextlib
import io
import os
import pty
import re
import time

import pytest

from fakescan.run.counts import Counts
from fakescan.scan.progress import Display, Pace
from fakescan.scan.tables import PartSummary
from fakescan.terminal.duration import duration

pytestmark = pytest.mark.unit


def part(rows: int, at: float, **errors: int) -> PartSummary:
    good = rows - sum(errors.values())
    return PartSummary(0, Counts(rows, good // 2, good - good // 2, errors=errors), written_at=at)


def test_the_pace_is_that_of_the_last_minute() -> None:
    pace = Pace()
    assert pace.rate(0.0) is None
    pace.add(0.0, 1000)
    assert pace.rate(1.0) is None, "what the first part cost holds the start-up"
    pace.add(10.0, 100)
    assert pace.rate(10.0) == pytest.approx(10.0)
    pace.add(100.0, 300)
    pace.add(160.0, 1200)
    assert pace.rate(160.0) == pytest.approx(20.0)


def test_the_pace_falls_while_nothing_comes() -> None:
    pace = Pace()
    pace.add(0.0, 10)
    pace.add(10.0, 100)
    assert pace.rate(20.0) == pytest.approx(5.0)


def test_parts_that_were_written_at_the_same_moment() -> None:
    pace = Pace()
    pace.add(5.0, 10)
    pace.add(5.0, 10)
    rate = pace.rate(5.0)
    assert rate is not None
    assert rate > 0


def test_lines_without_a_terminal() -> None:
    stream = io.StringIO()
    now = time.time()
    with Display(2000, 400, stream) as display:
        for number in range(1, 9):
            display.add(part(100, now - 8 + number, denied=2, empty=1))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "400/2,000  starting engines  real 0  fake 0  uncertain 0  errors 0"
    assert len(lines) <= 3, "a line every few seconds, not one a part"
    assert re.fullmatch(
        r"1,200/2,000  (9\d|100)\.\d img/s  ETA [89] s  "
        r"real 384  fake 392  uncertain 0  errors 24 \(denied 16, empty 8\)",
        lines[-1],
    ), lines[-1]
    assert "\x1b" not in stream.getvalue()


def test_a_long_line_is_not_broken() -> None:
    stream = io.StringIO()
    with Display(10, 0, stream) as display:
        errors = {f"code_number_{number}": 1 for number in range(10)}
        display.add(PartSummary(0, Counts(10, errors=errors), written_at=1.0))
    assert all(line.startswith(("0/10", "10/10")) for line in stream.getvalue().splitlines())


def read_to_the_end(terminal: int) -> bytes:
    """What a closed terminal still holds: the kernel hands it over in pieces, and EIO is its end of file."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    return b"".join(pieces)


def test_a_terminal_gets_one_live_display() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, Display(200, 0, terminal) as display:
        display.add(part(100, time.time() - 1, denied=2))
        display.add(part(50, time.time(), denied=1))
    shown = read_to_the_end(ours).decode()
    os.close(ours)
    assert "150/200" in shown
    assert "denied 3" in shown
    assert "\x1b[" in shown


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
