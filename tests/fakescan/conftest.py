"""What tests that call the command line or look at its output need, wherever they stand."""

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.screen import Screen


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """`main` takes SIGTERM over, as the process that it is made for."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says of the terminal only that it is one."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def make_screen() -> Iterator[Callable[[int], Screen]]:
    """Terminals of any width."""
    made: list[Screen] = []

    def make(columns: int) -> Screen:
        made.append(Screen(columns))
        return made[-1]

    yield make
    for screen in made:
        screen.close()


@pytest.fixture
def screen(make_screen: Callable[[int], Screen]) -> Screen:
    """A terminal of 80 columns."""
    return make_screen(80)
