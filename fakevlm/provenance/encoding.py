"""Text of bytes whose encoding nobody says."""


def as_text(data: bytes, *, utf8: bool = False) -> str:
    """UTF-8 where it can be, else Latin-1. `utf8`: it is said to be UTF-8. Zeros at the end are no part of it."""
    data = data.rstrip(b"\0")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if utf8 or error.start > len(data) - 4:  # the last character was cut
            return data.decode("utf-8", errors="replace")
        return data.decode("latin-1")
