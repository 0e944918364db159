"""Turns an image as its metadata says that it is to be displayed."""

import struct

from PIL import Image

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

_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
_BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
           ValueError, EOFError, MemoryError, struct.error)  # fmt: skip


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF or XMP orientation says. TIFF has been turned by Pillow on loading."""
    if not image.info.keys() & _KEYS:
        return image
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except _BROKEN:
        return image  # like viewers: broken metadata does not keep an image from being shown
    return image if turn is None else image.transpose(turn)
