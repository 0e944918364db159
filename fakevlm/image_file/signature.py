"""The format of an image file by its first bytes."""

import re

from fakevlm.errors import ErrorCode, ImageError

_ACCEPTED = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("BMP", re.compile(rb"BM.{8}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*|II\x2b\0\x08\0\0\0|MM\0\x2b\0\x08\0\0")),
    ("AVIF", re.compile(rb"....ftypavi[fs]|....ftypmi[fa]1.{4}(?:.{4}){0,8}?avi[fs]", re.DOTALL)),
    ("HEIF", re.compile(rb"....ftyp(?:he[iv][cxmso]|mi[fa][12]|msf1|unif|avc[is]|j2ki|jpeg)", re.DOTALL)),
)
_REFUSED = (
    ("SVG", re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:svg[\s>]|!DOCTYPE svg|(?:\?xml|!--).*?<svg[\s>])", re.DOTALL)),
    ("PDF", re.compile(rb"%PDF-")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
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

FORMATS = tuple(name for name, _ in _ACCEPTED)
"""Names of the formats that are read."""


def identify(data: bytes) -> str:
    """One of FORMATS. Raises ImageError with `empty`, `unsupported_format` or `not_an_image`."""
    if not data:
        raise ImageError(ErrorCode.EMPTY, "the file has no bytes")
    head = data[:1024]
    for name, magic in _ACCEPTED:
        if magic.match(head):
            return name
    for name, magic in _REFUSED:
        if magic.match(head):
            raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"{name} images are not read")
    raise ImageError(ErrorCode.NOT_AN_IMAGE, f"no image begins with the bytes {head[:8].hex(' ')}")
