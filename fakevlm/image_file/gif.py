"""GIF files that Pillow refuses although their pixels are there: damaged extensions, a cut end."""

from collections.abc import Iterator

from fakevlm.image_file.repair import Repair

_GRAPHIC_CONTROL = 0xF9
_MAX_BLOCKS = 1 << 18
"""Blocks and extensions that are gone through: those of a file of 64 MB, as encoders write them."""


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The first image without extensions, but for the background; then with its last block closed.

    Raises ValueError for a file of very many blocks.
    """
    at = 13 + _palette(data[10:11])
    head, control, room = data[:at], b"", _MAX_BLOCKS
    while data[at : at + 1] == b"!":
        kind, start = data[at + 1], at
        at, room = _after_blocks(data, at + 2, room)
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
        room = _one_less(room)
    last = data[place + 1 :]
    closed = data[at:place] + bytes((len(last),)) + last + b"\0;" if last else data[at:place] + b"\0;"
    yield Repair(head + control + closed, "the file lacks its end; all pixels are there")


def _palette(flags: bytes) -> int:
    """Bytes of the palette that the flags of a screen or an image announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _after_blocks(data: bytes, at: int, room: int) -> tuple[int, int]:
    """The place behind the blocks that begin here, and how many of `room` blocks may still follow."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
        room = _one_less(room)
    return at + 1, _one_less(room)


def _one_less(room: int) -> int:
    if room < 1:
        raise ValueError(f"the file has more than {_MAX_BLOCKS} blocks")
    return room - 1
