"""A perceptual hash of what the model saw: pictures that look alike have hashes that differ in few bits.

The hash is ImageHash's `phash` with 16 x 16 frequencies, taken of the pixels that go to the model: they are there
already, so it costs 0.4 CPU-ms an image, where PDQ of the whole file takes 12. It survives another size, format,
quality or brightness; it does not survive a crop, a mirror image or a frame. Hashes are comparable between models of
one input size and preprocessing.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS: Final = 256

_FREQUENCIES = 16
_SIDE_FACTOR = 4
"""Pixels of the square that is transformed, for each frequency that is kept."""
_REDUCE_FROM = 128
"""Sides from this on are halved before, which makes hashing twice as cheap and changes 10 bits at most."""
_MIN_CONTRAST = 4.0
"""Standard deviation of the grey values, 0 to 255, under which the bits are noise: blank and nearly blank pictures."""

_SQUARE = 512
"""Pixels of the side that a whole picture is resized to before it is hashed."""


def phash(pixels: NDArray[np.uint8]) -> str | None:
    """64 hexadecimal digits for RGB pixels, uint8[height, width, 3]; None for a picture with hardly anything on it."""
    image = Image.fromarray(pixels)
    if min(image.size) >= _REDUCE_FROM:
        image = image.reduce(2)
    grey = image.convert("L")
    if np.asarray(grey).std() < _MIN_CONTRAST:
        return None
    return _hash(grey)


def _hash(grey: Image.Image) -> str:
    """`str(imagehash.phash(grey, hash_size=16))`, bit by bit, in half the time.

    The transform is the same one in the same order, so that values which differ by rounding alone, as those of
    symmetric pictures do, fall on the same side; rows of frequencies that are not used are left out.
    """
    from scipy.fft import dct

    side = _SIDE_FACTOR * _FREQUENCIES
    square = np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))
    low = dct(dct(square, axis=0)[:_FREQUENCIES], axis=1)[:, :_FREQUENCIES]
    return np.packbits(low > np.median(low)).tobytes().hex()


def picture_hash(image: Image.Image) -> NDArray[np.uint8] | None:
    """The same of a whole RGB picture, which no model has prepared: uint8[32]; None where there is hardly anything.

    Such hashes are comparable with each other, and not with those of pixels that a model gets.
    """
    square = image.resize((_SQUARE, _SQUARE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    digits = phash(np.asarray(square))
    return None if digits is None else np.frombuffer(bytes.fromhex(digits), np.uint8)
