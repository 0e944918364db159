"""Turns an image as its metadata says that it is to be displayed."""

import struct
from typing import Any

from PIL import Image

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge in pixels."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the operation that undoes it, as in PIL.ImageOps.exif_transpose."""
_ON_THEIR_SIDE = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_FAR_BECOMES_NEAR = {
    Image.Transpose.FLIP_LEFT_RIGHT: (True, False),
    Image.Transpose.ROTATE_180: (True, True),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, True),
    Image.Transpose.ROTATE_270: (True, False),
    Image.Transpose.TRANSVERSE: (True, True),
    Image.Transpose.ROTATE_90: (False, True),
}
"""Whether what was at the right, and at the lower, edge is at the left, and at the upper, edge afterwards."""

_TAG, _LONGEST_VALUE = 0x0112, 8
_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
_BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
           ValueError, EOFError, MemoryError, struct.error)  # fmt: skip


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The operation that turns the image as its EXIF or XMP orientation says; None where it is upright.

    TIFF has been turned by Pillow on loading.
    """
    if not image.info.keys() & _KEYS:
        return None
    try:
        return _TURNS.get(_orientation(image.getexif()))
    except _BROKEN:
        return None  # like viewers: broken metadata does not keep an image from being shown


def _orientation(exif: Image.Exif) -> Any:
    """What is under the tag; 1 where that is more than one value, of which there may be millions."""
    directory = exif._info
    if directory is not None and len(directory._tagdata.get(_TAG, b"")) > _LONGEST_VALUE:
        return 1
    return exif.get(_TAG, 1)


def upright(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """The image turned so."""
    return image if turn is None else image.transpose(turn)


def turned_size(size: tuple[int, int], turn: Image.Transpose | None) -> tuple[int, int]:
    """(width, height) of an image of this size once it has been turned."""
    return size[::-1] if turn in _ON_THEIR_SIDE else size


def turned_box(width: float, height: float, size: tuple[int, int], turn: Image.Transpose | None) -> Box:
    """Where the upper left `width` x `height` pixels of an image are once it has been turned and has this `size`."""
    if turn in _ON_THEIR_SIDE:
        width, height = height, width
    from_left, from_top = _FAR_BECOMES_NEAR.get(turn, (False, False)) if turn is not None else (False, False)
    left, top = size[0] - width if from_left else 0.0, size[1] - height if from_top else 0.0
    return left, top, left + width, top + height
