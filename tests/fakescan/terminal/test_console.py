"""Consoles: what is a terminal, when there are colours, and how text is wrapped."""

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.text import Text

from fakescan.terminal.console import console_on, print_hanging, printable, printable_line, wrapped
from tests.screen import Screen

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE", "COLORTERM"])
def test_a_pipe_never_gets_control_characters(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    stream = io.StringIO()
    console = console_on(stream)
    assert not console.is_terminal
    print_hanging(console, "warning: ", "a word " * 100, style="warning")
    assert stream.getvalue() == f"warning: {'a word ' * 100}\n"


def test_a_terminal_has_colours_by_meaning(screen: Screen) -> None:
    print_hanging(console_on(screen.stream), "warning: ", "mind this", style="warning")
    assert screen.read() == "\x1b[33mwarning: \x1b[0mmind this\r\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_none_has_none(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    print_hanging(console_on(screen.stream), "warning: ", "mind this", style="warning")
    assert screen.read() == "warning: mind this\r\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_text_is_wrapped_between_words_below_its_start(make_screen: Callable[[int], Screen], columns: int) -> None:
    screen = make_screen(columns)
    words = " ".join(f"word{number}" for number in range(60))
    print_hanging(console_on(screen.stream), "warning: ", words, style="warning")
    first, *others = screen.lines()
    assert first.startswith("warning: word0 word1")
    assert all(line.startswith(" " * 9 + "word") for line in others)
    assert all(columns < len(line) + len(" word00") + 1 and len(line) <= columns for line in [first, *others][:-1])
    assert " ".join(line[9:] for line in [first, *others]) == words, "nothing is cut"


def test_an_address_longer_than_the_window_is_not_broken(make_screen: Callable[[int], Screen]) -> None:
    screen = make_screen(80)
    url = "s3://bucket/" + "x" * 150
    print_hanging(console_on(screen.stream), "note: ", f"the object {url} is damaged")
    assert screen.lines() == ["note: the object", f"      {url}", "      is damaged"]


def test_wide_characters_count_twice() -> None:
    lines = wrapped(Text("图像 " * 20), 20)
    assert all(cell_len(line.plain.rstrip()) <= 20 for line in lines)
    assert "".join(line.plain for line in lines).replace(" ", "") == "图像" * 20


def test_lines_of_their_own_stay_and_keep_what_they_are_indented_by(make_screen: Callable[[int], Screen]) -> None:
    screen = make_screen(80)
    print_hanging(console_on(screen.stream), "w: ", "one\n  two\nthree")
    assert screen.lines() == ["w: one", "     two", "   three"]


def test_names_of_files_cannot_steer_the_terminal(screen: Screen) -> None:
    assert printable("a\x1b[2Jb\r\nc\u202e") == "a\\x1b[2Jb\\r\nc\\u202e"
    assert printable_line("a\nb") == "a\\nb"
    assert printable_line("Bücher/图像 1.jpg") == "Bücher/图像 1.jpg"
    print_hanging(console_on(screen.stream), "", "a\x1b[2Jb")
    assert screen.read() == "a\\x1b[2Jb\r\n"


def test_a_narrow_window_shows_every_word(make_screen: Callable[[int], Screen]) -> None:
    screen = make_screen(12)
    print_hanging(console_on(screen.stream), "warning: ", "three short words")
    assert "".join(screen.read().split()) == "warning:threeshortwords"
