"""The display of work on parts: silent for few, a line now and then elsewhere than on a terminal."""

import io

import pytest

from fakescan.terminal.parts_display import SHOWN_FROM, PartsDisplay

pytestmark = pytest.mark.unit


def shown(total: int, *, show: bool = True) -> list[str]:
    stream = io.StringIO()
    with PartsDisplay("verifying", total, show=show, stream=stream) as display:
        display.known(total // 4)
        for _ in range(3):
            display.add(total // 4)
    return stream.getvalue().splitlines()


def test_few_parts_and_a_quiet_command_say_nothing() -> None:
    assert shown(SHOWN_FROM - 4) == []
    assert shown(8 * SHOWN_FROM, show=False) == []


def test_many_parts_have_a_first_line_and_a_last_one() -> None:
    first, last = shown(20_000)
    assert first == "0/20,000 parts  verifying  elapsed 0 s"
    assert last.startswith("20,000/20,000 parts  verifying  ")
    assert last.split("  ")[2].endswith(" parts/s")
    assert "ETA" not in last
