"""Reads an image file into an RGB Pillow image the right way up, or says what is wrong with it."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
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


class ImageFileContent(NamedTuple):
    """An image and the format of its file."""

    rgb: Image.Image
    format: str


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
FORMATS = tuple(_READERS)
"""Names of the formats that are read."""

_ACCEPTED = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("BMP", re.compile(rb"BM.{8}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*|II\x2b\0\x08\0\0\0|MM\0\x2b\0\x08\0\0")),
    ("AVIF", re.compile(rb"....ftypavi[fs]|....ftypmi[fa]1.{4}(?:.{4}){0,8}?avi[fs]", re.DOTALL)),
)
_REFUSED = (
    ("SVG", re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:svg[\s>]|!DOCTYPE svg|(?:\?xml|!--).*?<svg[\s>])", re.DOTALL)),
    ("PDF", re.compile(rb"%PDF-")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("HEIC", re.compile(rb"....ftyp(?:he[iv][cxms]|mi[fa]1|msf1)", re.DOTALL)),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")),
    ("PSD", re.compile(rb"8BPS")),
    ("ICO", re.compile(rb"\0\0[\x01\x02]\0[^\0]\0", re.DOTALL)),
    ("PNM", re.compile(rb"P[1-7][ \t\r\n]")),
    ("OpenEXR", re.compile(rb"v/1\x01")),
    ("DDS", re.compile(rb"DDS ")),
    ("QOI", re.compile(rb"qoif")),
    ("Radiance", re.compile(rb"#\?RADIANCE")),
    ("camera raw", re.compile(rb"FUJIFILMCCD-RAW|....ftypcrx |IIRO|MMOR|IIU\0", re.DOTALL)),
)  # fmt: skip

# What Pillow's decoders raise on a damaged file. MemoryError is their answer to nonsense in a header.
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError,
    MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
_NOT_SUPPORTED = re.compile(
    r"unsupported|not supported|unknown (?:pixel|data|compression|bmp|raw)|not available|cannot handle", re.IGNORECASE
)

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


def read_image(data: bytes, *, max_pixels: int) -> ImageFileContent:
    """The first frame in `data` as an RGB image, as displayed. Raises ImageError, and nothing else."""
    kind = _identify(data)
    if kind == "WEBP":  # its reader allocates the canvas on opening
        _check_size(_webp_size(data), max_pixels)
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata. Narrow, because in threads a filter may outlive the block.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            image = _READERS[kind](io.BytesIO(data))
            _check_size(image.size, max_pixels)
            image.load()
            return ImageFileContent(_to_rgb(_turn(image)), kind)
    except Image.DecompressionBombError as error:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, one_line(error)) from None
    except _DAMAGED as error:
        code = ErrorCode.UNSUPPORTED_FORMAT if _NOT_SUPPORTED.search(str(error)) else ErrorCode.TRUNCATED
        raise ImageError(code, f"{kind}: {one_line(error)}") from None


def _identify(data: bytes) -> str:
    """The format of `data` by its first bytes."""
    if not data:
        raise ImageError(ErrorCode.EMPTY, "the file has no bytes")
    head = data[:1024]
    for kind, magic in _ACCEPTED:
        if magic.match(head):
            return kind
    for kind, magic in _REFUSED:
        if magic.match(head):
            raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"{kind} images are not read")
    raise ImageError(ErrorCode.NOT_AN_IMAGE, f"no image begins with the bytes {head[:8].hex(' ')}")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, f"{size[0]} x {size[1]} pixels are more than {max_pixels}")


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) from a WebP header (RFC 9649); (0, 0) when there is none."""
    chunk, head = data[12:16], data[16:30].ljust(14, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(head[8:11], "little") + 1, int.from_bytes(head[11:14], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[5:9], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(head[10:12], "little") & 0x3FFF, int.from_bytes(head[12:14], "little") & 0x3FFF
    return 0, 0


def _turn(image: Image.Image) -> Image.Image:
    """Turns the image as its EXIF or XMP orientation says. TIFF has been turned by Pillow on loading."""
    if not image.info.keys() & {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}:
        return image
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except _DAMAGED:
        return image  # like viewers: broken metadata does not keep an image from being shown
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB as `Image.convert` does, except 16-bit greyscale, which `convert` clips to white."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        upper = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"samples of 32 bits (mode {image.mode}) are not supported")
    return image.convert("RGB")
