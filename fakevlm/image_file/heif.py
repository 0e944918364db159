"""HEIC and other HEIF files, what phones take: the primary image, as libheif decodes it."""

import io
from collections import Counter

import pillow_heif
from PIL import Image

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import isobmff


def read_heif(data: bytes, max_pixels: int) -> Image.Image:
    """The primary image, turned, mirrored and cropped as the file says, with eight bits a sample.

    EXIF has no say in that (ISO/IEC 23008-12), so the image comes without it. Raises ImageError, or ValueError and the
    like for a damaged file.
    """
    layout = isobmff.layout(data)
    for width, height in layout.sizes:  # those stored: what is shown may be a small crop of it
        _check(width, height, max_pixels)
    _check_whole(data, layout)
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    width, height = file.size
    _check(width, height, max_pixels)
    image = file.to_pillow()
    image.info.clear()
    return image


def _check(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, f"{width} x {height} pixels are more than {max_pixels}")


_DERIVED = (b"grid", b"iovl", b"iden")
_MAX_UNITS = 4096
"""Units of the coded data of an item: a picture has 600 slices at most (ITU-T H.265, A.4.2)."""
_MAX_TILES = 4096
"""Coded images that the primary one is put together from, counted as often as they are decoded."""
_MAX_DERIVATIONS = 8
"""Derived images within each other. A grid has one."""


def _check_whole(data: bytes, layout: isobmff.Layout) -> None:
    """Raises ValueError where bytes of the image are missing: libheif leaves tiles that it cannot read grey.

    Also for other codings than HEVC, the only one that pillow-heif's libheif decodes.
    """
    _check_tiles(layout)
    room = 2 * len(data)
    for item in layout.pixel_items():
        if item.kind != b"hvc1" and item.kind not in _DERIVED:
            raise ValueError(f"images coded as {item.kind.decode('latin-1')!r} are not supported")
        for start, length in item.extents:
            if start + length > len(data):
                raise ValueError(f"the file ends {start + length - len(data)} bytes before the image does")
            room -= length
        if room < 0:
            raise ValueError("the parts of the image overlap")
        if item.kind == b"hvc1" and not _units_add_up(b"".join(data[at : at + size] for at, size in item.extents)):
            raise ValueError("a part of the image is empty or damaged")


def _check_tiles(layout: isobmff.Layout) -> None:
    """Raises ValueError where images that are put together from each other would be decoded without end."""
    level = Counter({layout.primary: 1})
    for _ in range(_MAX_DERIVATIONS):
        parts: Counter[int] = Counter()
        for number, times in level.items():
            for part in layout.derived_from.get(number, ()):
                parts[part] += times
        if parts.total() > _MAX_TILES:
            raise ValueError(f"images of more than {_MAX_TILES} tiles are not supported")
        level = parts
    if level:
        raise ValueError("images derived from each other so often are not supported")


def _units_add_up(coded: bytes) -> bool:
    """Whether HEVC data is units that each have the length they say, without holes.

    Three zeros never follow each other in a unit (ITU-T H.265, 7.3.1.1): half-written files have them.
    """
    at = 0
    for _ in range(_MAX_UNITS):
        if at >= len(coded):
            break
        end = at + 4 + int.from_bytes(coded[at : at + 4])
        if end == at + 4 or coded.find(b"\0\0\0", at + 4, end) >= 0:
            return False
        at = end
    return at == len(coded) > 0
