"""Messages: each warning once, whole, in lines that fit; and nothing of what libraries say to programmers."""

import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from fakescan.terminal import messages
from fakescan.terminal.live_display import BarDisplay
from fakescan.terminal.messages import MessageHandler, print_error
from tests.screen import Screen

pytestmark = pytest.mark.unit

WARNING = (
    "the model builtin-small learnt from forged photographs of 112 pixels and knows no generator; "
    "for real verdicts, name another"
)


@pytest.fixture
def log() -> Iterator[Callable[..., logging.Logger]]:
    """Loggers whose records go to one handler and nowhere else."""
    made: list[tuple[logging.Logger, logging.Handler]] = []
    handlers: dict[bool, MessageHandler] = {}

    def make(name: str, *, verbose: bool = False) -> logging.Logger:
        logger = logging.getLogger(name)
        handler = handlers.setdefault(verbose, MessageHandler())
        if verbose:
            handler.show_everything()
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        made.append((logger, handler))
        return logger

    yield make
    for logger, handler in made:
        logger.removeHandler(handler)
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_a_warning_is_one_line_where_there_is_no_terminal(
    log: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    log("fakescan.test").warning("%s", WARNING)
    assert capsys.readouterr().err == f"warning: {WARNING}\n"


def test_a_warning_is_wrapped_on_a_terminal(
    log: Callable[..., logging.Logger], screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    log("fakescan.test").warning("%s", WARNING)
    assert screen.lines() == [
        "warning: the model builtin-small learnt from forged photographs of 112 pixels",
        "         and knows no generator; for real verdicts, name another",
    ]


def test_the_same_warning_is_said_once_until_it_is_old(
    log: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = log("fakescan.test")
    for _ in range(3):
        logger.warning("the store is away")
    logger.warning("another one")
    assert capsys.readouterr().err.splitlines() == ["warning: the store is away", "warning: another one"]
    monkeypatch.setattr(messages, "REPEAT_S", 0.0)
    logger.warning("the store is away")
    assert capsys.readouterr().err.splitlines() == ["warning: the store is away"], "after a time it is news again"


def test_libraries_are_heard_only_when_something_failed(
    log: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    log("vllm.test").warning("an option is deprecated")
    log("vllm.test").error("the connection was lost")
    log("fakescan.test").info("a detail")
    assert capsys.readouterr().err == "error: the connection was lost\n"


def test_verbose_says_everything_as_often_as_it_comes(
    log: Callable[..., logging.Logger], capsys: pytest.CaptureFixture[str]
) -> None:
    logger = log("vllm.test", verbose=True)
    for _ in range(2):
        logger.info("a detail")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.info("it failed", exc_info=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["info: a detail", "info: a detail", "info: it failed"]
    assert lines[-1].endswith("ValueError: broken")


class Steps(BarDisplay):
    def _text(self) -> str:
        return "stepping"

    def _line(self) -> str:
        return "stepping"


def test_a_warning_stands_above_the_live_display(
    log: Callable[..., logging.Logger], screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    with Steps(10, stream=screen.stream) as display:
        log("fakescan.test").warning("%s", WARNING)
        display._show(3)
    lines = screen.lines()
    start = next(number for number, line in enumerate(lines) if "warning: the model" in line)
    assert lines[start + 1].strip() == "and knows no generator; for real verdicts, name another"
    assert "0/10" in lines[start + 2] or "0/10" in lines[start + 3], "the display goes on below"


def test_an_error_is_wrapped_on_a_terminal_and_one_line_elsewhere(
    screen: Screen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "replicas: the range 4-2 is empty; " + "write the smaller number first, " * 4
    print_error(text)
    assert capsys.readouterr().err == f"fakescan: error: {text}\n"
    monkeypatch.setattr(sys, "stderr", screen.stream)
    print_error(text)
    lines = screen.lines()
    assert lines[0].startswith("fakescan: error: replicas: the range 4-2 is empty;")
    assert all(line.startswith(" " * 17) and len(line) <= 80 for line in lines[1:])
