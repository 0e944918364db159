"""GIF files that Pillow refuses although their pixels are there: damaged extensions, a cut end."""

from collections.abc import Iterator

from fakevlm.image_file.repair import Repair

_GRAPHIC_CONTROL = 0xF9


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The first image without extensions, but for the background; then with its last block closed."""
    at = 13 + _palette(data[10:11])
    head, control = data[:at], b""
    while data[at : at + 1] == b"!":
        kind, start = data[at + 1], at
        at = _after_blocks(data, at + 2)
        if kind == _GRAPHIC_CONTROL and data[start + 2 : start + 3] == b"\x04":
            control = data[start : start + 7] + b"\0"
    if data[at : at + 1] != b",":
        return
    yield Repair(head + control + data[at:])
    place = at + 11 + _palette(data[at + 9 : at + 10])
    while place < len(data) and place + 1 + data[place] <= len(data):
        if not data[place]:
            return
        place += 1 + data[place]
    last = data[place + 1 :]
    closed = data[at:place] + bytes((len(last),)) + last + b"\0;" if last else data[at:place] + b"\0;"
    yield Repair(head + control + closed, "the file lacks its end; all pixels are there")


def _palette(flags: bytes) -> int:
    """Bytes of the palette that the flags of a screen or an image announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """The place behind the blocks that begin here."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
