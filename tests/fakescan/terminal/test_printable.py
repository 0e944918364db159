"""Text of foreign origin does nothing to a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.terminal.printable import printable

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.jpg", "photo 1.jpg"),
        ("Füße – 写真 🙂.jpg", "Füße – 写真 🙂.jpg"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b2J\x7f\0", r"\x9b2J\x7f\x00"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("line\u2028sep", r"line\u2028sep"),
        ("\udcff", r"\udcff"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_what_controls_is_escaped_and_what_is_text_stays(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_is_one_line_that_can_be_written(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
