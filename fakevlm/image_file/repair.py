"""A second look at a file that its decoder refused: other bytes that hold the same pixels, and what was missing."""

from collections.abc import Mapping
from typing import NamedTuple

from fakevlm.errors import ErrorCode, ImageError

MAX_MISSING = 0.02
"""The largest share of its pixels that an image may lack and still be judged, with a note.

Browsers show whatever there is. A detector must not: a strip that thin disappears when the image is resized to the
model's 336 pixels, more of it would be judged as if the camera or the generator had made it.
"""


class Repair(NamedTuple):
    """Bytes to decode instead of the file's."""

    data: bytes
    note: str = ""
    """What a reader of the result should know about the file; "" when nothing but metadata was left out."""
    info: Mapping[str, bytes | str] = {}
    """`Image.info` of what was left out of `data` and bears on the pixels: `exif` and `xmp` hold the orientation."""
    white_is_zero: bool = False
    """The samples of `data` count from white to black."""


def missing_note(kind: str, share: float) -> str:
    """The note for an image that lacks this share of its pixels. Raises ImageError when that is too much."""
    if share > MAX_MISSING:
        raise ImageError(ErrorCode.TRUNCATED, f"{kind}: {share:.1%} of the pixels are missing")
    return f"the last {max(share, 0.0001):.2%} of the pixels are missing: the file ends early or is damaged there"
