"""Text of foreign origin, made harmless for a terminal."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text around them, and with it what a name seems to be."""


def printable(text: str) -> str:
    """The text with escapes such as `\\x1b` in place of what would control the terminal or break the line."""
    return "".join(
        letter.encode("unicode_escape").decode()
        if letter in _TURNING or unicodedata.category(letter) in _HIDDEN
        else letter
        for letter in text
    )
