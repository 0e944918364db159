"""Which walker is for which file."""

from collections.abc import Callable

from fakevlm.errors import ImageError
from fakevlm.image_file.signature import identify
from fakevlm.provenance.containers import gif, isobmff, jpeg, png, tiff, webp
from fakevlm.provenance.containers.metadata import WHOLE, FileMetadata, WalkLimits

_WALKERS: dict[str, Callable[[bytes, FileMetadata], None]] = {
    "JPEG": jpeg.walk,
    "PNG": png.walk,
    "WEBP": webp.walk,
    "GIF": gif.walk,
    "TIFF": tiff.walk,
    "AVIF": isobmff.walk,
    "HEIF": isobmff.walk,
}


def walk(data: bytes, limits: WalkLimits = WHOLE) -> FileMetadata | None:
    """The metadata of a file in one of the formats that are decoded; None for anything else. Never raises."""
    try:
        found = FileMetadata(identify(data), limits)
    except ImageError:
        return None
    if walker := _WALKERS.get(found.format):
        walker(data, found)
    return found
