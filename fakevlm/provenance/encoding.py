"""Text of bytes whose encoding nobody says."""

_MAX_DAMAGED = 256
"""Bytes that are read from damage in UTF-16 on."""


def as_text(data: bytes, *, utf8: bool = False) -> str:
    """UTF-8 where it can be, else Latin-1. `utf8`: it is said to be UTF-8. Zeros at the end are no part of it."""
    data = data.rstrip(b"\0")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if utf8 or error.start > len(data) - 4:  # the last character was cut
            return data.decode("utf-8", errors="replace")
        return data.decode("latin-1")


def utf16_text(data: bytes, encoding: str) -> str:
    """Text in a form of UTF-16; of damaged data what comes before the damage, and a little of what follows it.

    Each pair of bytes that is no character takes as long as a hundred that are.
    """
    data = data[: len(data) & ~1]
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        return data[: (error.start & ~1) + _MAX_DAMAGED].decode(encoding, errors="replace")
