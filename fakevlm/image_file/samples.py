"""From samples of any depth and meaning to RGB with eight bits."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImagePalette, TiffImagePlugin

_BITS, _COMPRESSION, _PHOTOMETRIC, _MAX_SAMPLE, _PLANES, _COLOUR_MAP, _SAMPLE_FORMAT = 258, 259, 262, 281, 284, 320, 339


class Interpretation(NamedTuple):
    """How greyscale samples of more than eight bits are to be read."""

    bits: int = 16
    white_is_zero: bool = False
    declared_max: int = 0
    """The largest value that the file says there is; 0 where it does not say."""


def interpretation(image: Image.Image) -> Interpretation:
    """By the tags of a TIFF, before it is turned. Raises ValueError with "not supported" for what Pillow misreads."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return Interpretation()
    tags = image.tag_v2
    if 2 in _values(tags, _SAMPLE_FORMAT):
        raise ValueError("signed samples are not supported")
    if _values(tags, _PLANES) == (2,) and 16 in _values(tags, _BITS) and _values(tags, _COMPRESSION) in ((), (1,)):
        raise ValueError("separate planes of 16 bits are not supported")  # Pillow would decode them as eight
    bits, declared = _values(tags, _BITS), _values(tags, _MAX_SAMPLE)
    return Interpretation(
        bits[0] if bits else 16, 0 in _values(tags, _PHOTOMETRIC), declared[0] if len(declared) == 1 else 0
    )


def to_rgb(image: Image.Image, meaning: Interpretation) -> Image.Image:
    """Converts as `Image.convert` does, except 16-bit greyscale, which `convert` clips to white.

    Of that the upper eight bits are kept, as Pillow's decoders do with 16-bit colour. Raises ValueError with "not
    supported" for samples of 32 bits.
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(_upper_bits(np.asarray(image), meaning)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"samples of 32 bits (mode {image.mode}) are not supported")
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGB")


def _upper_bits(samples: np.ndarray, meaning: Interpretation) -> np.ndarray:
    bits = meaning.bits
    # The specification (TIFF 6.0, MaxSampleValue) wants no histogram tag to change how an image looks. But a maximum of
    # twelve ones is no statistic: it says that twelve of the sixteen bits are in use, as cameras and scanners write.
    declared = meaning.declared_max.bit_length()
    if 8 <= declared < bits and meaning.declared_max == (1 << declared) - 1 and samples.max() <= meaning.declared_max:
        bits = declared
    upper = (samples >> (bits - 8)).astype(np.uint8)
    return 255 - upper if meaning.white_is_zero else upper


def widen_colour_map(image: Image.Image) -> None:
    """Repairs the palette of a TIFF whose writer took eight for sixteen bits: all colours would be black.

    As libtiff does it (tif_getimage.c, checkcmap).
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in ("P", "PA"):
        colours = _values(image.tag_v2, _COLOUR_MAP)
        if colours and 0 < max(colours) < 256:
            image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def _values(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    """The integers under a tag; () where there are none or something else."""
    value = tags.get(tag)
    values = value if isinstance(value, tuple) else (value,)
    return tuple(each for each in values if isinstance(each, int))
