"""From the bytes of an image file to RGB pixels: decodes it, and looks again where a decoder refuses too much."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from fakevlm.errors import ErrorCode, ImageError, one_line
from fakevlm.image_file import bmp, gif, isobmff, jpeg, png, samples, tiff, webp
from fakevlm.image_file.heif import read_heif
from fakevlm.image_file.orientation import Box, turn_of, turned_box, turned_size, upright
from fakevlm.image_file.repair import Repair
from fakevlm.image_file.signature import identify


class Reduced(NamedTuple):
    """An image that was made smaller while it was decoded."""

    width: int
    """Of the whole image in pixels, as displayed."""
    height: int
    box: Box
    """Where it is in the smaller one, whose last row and column may reach beyond it."""


class ImageFileContent(NamedTuple):
    """An image and the format of its file."""

    rgb: Image.Image
    format: str
    note: str = ""
    """What was wrong with the file although it could be read; mostly ""."""
    reduced: Reduced | None = None
    """None for an image that is whole."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the whole image in pixels, as displayed."""
        return self.rgb.size if self.reduced is None else (self.reduced.width, self.reduced.height)


Enough = Callable[[int, int], tuple[int, int]]
"""(width, height) of an image as stored to those that it is large enough with."""


# Pillow's classes are called directly, not through Image.open: that one tries some forty formats in turn, and its limit
# on pixels is a global setting that other code in the process may rely on.
_READERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_REPAIRS: dict[str, Callable[[bytes, int], Iterator[Repair]]] = {
    "JPEG": jpeg.repairs,
    "PNG": png.repairs,
    "WEBP": webp.repairs,
    "GIF": gif.repairs,
    "BMP": bmp.repairs,
    "TIFF": tiff.repairs,
    "AVIF": isobmff.without_metadata,
    "HEIF": isobmff.without_metadata,
}

# What decoders raise on a damaged file. MemoryError is Pillow's answer to nonsense in a header.
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, ArithmeticError,
    AssertionError, MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
_NOT_SUPPORTED = re.compile(
    r"unsupported|not supported|unknown (?:pixel|data|compression|bmp|raw)|not available|cannot handle", re.IGNORECASE
)


def read_image(data: bytes, *, max_pixels: int, enough: Enough | None = None) -> ImageFileContent:
    """The first image in `data` in RGB, as displayed. Raises ImageError, and nothing else.

    With `enough`, a JPEG may come out at a half, a quarter or an eighth of its size, if it is large enough then.

    Metadata has no say: where a decoder refuses a file, its pixels are tried again without it. Where the pixels
    themselves end early, the image is read up to `repair.MAX_MISSING`, with a note.
    """
    kind = identify(data)
    with warnings.catch_warnings():
        # Pillow warns of odd metadata. Narrow, because in threads a filter may outlive the block.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            return _guarded(kind, lambda: _read(kind, Repair(data), max_pixels, enough))
        except ImageError as error:
            if error.code not in (ErrorCode.TRUNCATED, ErrorCode.UNSUPPORTED_FORMAT):
                raise
            refusal = error
        return _guarded(kind, lambda: _read_repaired(kind, data, max_pixels, enough, refusal))


def _guarded(kind: str, read: Callable[[], ImageFileContent]) -> ImageFileContent:
    """Turns whatever a decoder raises into an ImageError."""
    try:
        return read()
    except Image.DecompressionBombError as error:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, one_line(error)) from None
    except _DAMAGED as error:
        code = ErrorCode.UNSUPPORTED_FORMAT if _NOT_SUPPORTED.search(str(error)) else ErrorCode.TRUNCATED
        # That memory has run out says nothing of the file.
        raise ImageError(code, f"{kind}: {one_line(error)}") from (error if isinstance(error, MemoryError) else None)


def _read_repaired(
    kind: str, data: bytes, max_pixels: int, enough: Enough | None, refusal: ImageError
) -> ImageFileContent:
    """The image by the first repair that can be decoded; raises what was wrong with it otherwise."""
    repairs = _REPAIRS[kind](data, max_pixels)
    while True:
        try:
            repair = next(repairs, None)
        except _DAMAGED:
            repair = None  # no second look at what cannot even be taken apart
        if repair is None:
            raise refusal
        try:
            return _read(kind, repair, max_pixels, enough)
        except _DAMAGED:
            continue


def _read(kind: str, repair: Repair, max_pixels: int, enough: Enough | None) -> ImageFileContent:
    if kind == "HEIF":
        return ImageFileContent(samples.to_rgb(read_heif(repair.data, max_pixels), samples.Interpretation()), kind)
    if kind == "WEBP":  # its reader allocates the canvas on opening
        _check_size(webp.size(repair.data), max_pixels)
    elif kind == "TIFF":
        tiff.check(repair.data)
    image = _READERS[kind](io.BytesIO(repair.data))
    _check_size(image.size, max_pixels)
    samples.widen_colour_map(image)
    meaning = samples.interpretation(image)
    if repair.white_is_zero:
        meaning = meaning._replace(white_is_zero=True)
    size, extent = image.size, None
    pixels: Image.Image = image
    if kind == "JPEG":
        if enough is not None:
            extent = jpeg.reduce(image, enough(*size))
        pixels = jpeg.load(image, repair.data)
    else:
        image.load()
    note = repair.note
    if not note and kind == "JPEG":
        last_pixel = pixels.getpixel((pixels.width - 1, pixels.height - 1))
        note = jpeg.note(repair.data, last_pixel, "progressive" in image.info)
    elif not note and kind == "PNG":
        last_row = image.crop((0, image.height - 1, image.width, image.height))
        note = png.note(repair.data, last_row.getbbox(alpha_only=False) is None, max_pixels)
    image.info.update(repair.info)
    turn = turn_of(image)
    turned = upright(pixels, turn)
    reduced = None
    if extent is not None:
        width, height = turned_size(size, turn)
        reduced = Reduced(width, height, turned_box(*extent, turned.size, turn))
    return ImageFileContent(samples.to_rgb(turned, meaning), kind, note, reduced)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, f"{size[0]} x {size[1]} pixels are more than {max_pixels}")
