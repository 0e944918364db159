"""Tells photographs from drawings, icons and screenshots, and brings them to the size they are kept at."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

MIN_SIDE = 256
"""Shorter side, in pixels, below which a photograph is not worth having."""
MAX_SIDE = 1600
"""Longer side, in pixels, above which it is scaled down."""
MAX_ASPECT = 3.0
MAX_SOURCE_PIXELS = 250_000_000
JPEG_QUALITY = 96
MIN_COLOURS = 350
"""Of 32^3, in a picture of 256 x 256; greyscale photographs are counted in levels and need 60."""
MIN_GREYS = 60
MAX_FLAT_SHARE = 0.5
"""Share of 8 x 8 blocks in which no pixel differs from its neighbours by more than 1 level."""
HASH_SIDE = 16

Pixels = npt.NDArray[np.uint8]


class NotAPhotographError(Exception):
    """Why a file is left out, in a word or two."""


class Kept(NamedTuple):
    """One photograph, ready to be written."""

    data: bytes
    """The encoded file."""
    extension: str
    width: int
    height: int
    look: bytes
    """Average hash, 256 bits."""


def read(data: bytes) -> Image.Image:
    """Decode a file to RGB and turn it upright; raise NotAPhotographError for what is broken, huge or transparent."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old test images have broken metadata
            opened = Image.open(io.BytesIO(data))
            if opened.width * opened.height > MAX_SOURCE_PIXELS:
                raise NotAPhotographError("too large")
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):
                image = _stretched(np.asarray(image, np.float32))
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                if image.getchannel("A").getextrema()[0] < 255:
                    raise NotAPhotographError("transparent")
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NotAPhotographError(f"unreadable: {type(error).__name__}") from error
    return image


def _stretched(values: npt.NDArray[np.float32]) -> Image.Image:
    """Greyscale of more than 8 bits, as satellites deliver it: the middle 99 % of its values over 256 levels."""
    low, high = np.quantile(values, (0.005, 0.995))
    return Image.fromarray((np.clip((values - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8))


def check_size(image: Image.Image) -> None:
    """Raise NotAPhotographError for pictures that are too small or too narrow."""
    shorter, longer = sorted(image.size)
    if shorter < MIN_SIDE:
        raise NotAPhotographError("small")
    if longer > MAX_ASPECT * shorter:
        raise NotAPhotographError("narrow")


def check_content(image: Image.Image) -> None:
    """Raise NotAPhotographError for an RGB picture with the few colours or the flat areas of a drawing."""
    small = np.asarray(image.resize((256, 256), Image.Resampling.NEAREST))
    greyscale = int(np.abs(np.diff(small.astype(np.int16), axis=2)).max(initial=0)) <= 2
    if greyscale:
        if len(np.unique(small[..., 0])) < MIN_GREYS:
            raise NotAPhotographError("few greys")
    elif (
        len(np.unique((small >> 3).reshape(-1, 3).astype(np.uint32) @ np.array([1, 32, 1024], np.uint32))) < MIN_COLOURS
    ):
        raise NotAPhotographError("few colours")
    if (share := flat_share(np.asarray(image))) > MAX_FLAT_SHARE:
        raise NotAPhotographError(f"flat: {share:.2f}")


def flat_share(pixels: Pixels) -> float:
    """Share, 0 to 1, of the 8 x 8 blocks of an H x W x 3 picture whose values span at most 1 level per channel."""
    height, width = (side // 8 * 8 for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // 8, 8, width // 8, 8, 3)
    span = blocks.max(axis=(1, 3)).astype(np.int16) - blocks.min(axis=(1, 3))
    return float((span.max(axis=-1) <= 1).mean())


def average_hash(image: Image.Image) -> bytes:
    """256 bits: which cells of a 16 x 16 grid are brighter than the median cell."""
    cells = np.asarray(image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BOX))
    return np.packbits(cells > np.median(cells)).tobytes()


def tiles(image: Image.Image, side: int) -> Iterator[Image.Image]:
    """Squares of `side` pixels that cover a picture without overlap, row by row; the rest at the edges is dropped."""
    for top in range(0, image.height - side + 1, side):
        for left in range(0, image.width - side + 1, side):
            yield image.crop((left, top, left + side, top + side))


def keep(image: Image.Image, original: bytes | None) -> Kept:
    """Encode an RGB picture at the size it is kept at.

    The original file stays as it is if it is a JPEG or PNG that needs no scaling. What must be encoded anew becomes a
    JPEG without chroma subsampling, at a quality that leaves nothing to see.
    """
    look = average_hash(image)
    if original is not None and max(image.size) <= MAX_SIDE:
        extension = {b"\xff\xd8\xff": "jpg", b"\x89PN": "png"}.get(original[:3])
        if extension and _is_plain(original):
            return Kept(original, extension, *image.size, look)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS, reducing_gap=None)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return Kept(file.getvalue(), "jpg", *image.size, look)


def _is_plain(original: bytes) -> bool:
    """Whether any reader gets the same upright 8-bit picture from these bytes."""
    opened = Image.open(io.BytesIO(original))
    return opened.mode in ("RGB", "L") and opened.getexif().get(0x0112, 1) == 1


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
