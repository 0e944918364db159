"""What can happen to a picture on its way, each with a strength: robustness is measured by these, and trained by these.

All go from RGB to RGB at the picture's own size, before the model's preprocessing, and leave the original as it is.
"""

import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import read_image
from fakevlm.preprocess import CLIP_MEAN

LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels that a side may have in a file: libjpeg's JPEG_MAX_DIMENSION, libwebp's WEBP_MAX_DIMENSION."""
MAX_SQUARE = 4096
"""Pixels of the longer side from which on a picture is shrunk before it is put on a square."""
BACKGROUND = tuple(int(255 * mean) for mean in CLIP_MEAN)
"""The colour that LLaVA pads pictures with: the mean of what CLIP was trained on."""
_BAND = 1 << 20
"""Pixels that get their noise at once, so that a large picture does not take a hundred bytes for each."""


class Operator(NamedTuple):
    """One of them, as something whose strength is drawn at random."""

    apply: Callable[[Image.Image, float, np.random.Generator], Image.Image]
    """From picture and strength to the changed picture; only noise draws from the generator."""
    strength: str
    """What the strength is, with its unit; empty for what has none."""
    low: float
    high: float
    """Strengths that make sense."""


def jpeg(image: Image.Image, quality: float) -> Image.Image:
    """Saved as JPEG of that quality (Pillow's scale, colour 4:2:0). Raises ImageError `too_many_pixels`."""
    return _saved(image, "JPEG", {"quality": round(quality), "subsampling": "4:2:0"})


def webp(image: Image.Image, quality: float) -> Image.Image:
    """Saved as lossy WebP of that quality. Raises ImageError `too_many_pixels`."""
    return _saved(image, "WEBP", {"quality": round(quality)})


def _saved(image: Image.Image, format: str, options: dict[str, Any]) -> Image.Image:
    """The picture as it comes back from a file."""
    if max(image.size) > LONGEST[format]:
        reason = f"{image.width} x {image.height} pixels do not fit into a {format} file"
        raise ImageError(ErrorCode.TOO_MANY_PIXELS, reason)
    # Without what the original's file said, such as an orientation: Pillow may write it, and it would be obeyed twice.
    bare = image.copy()
    bare.info = {}
    file = io.BytesIO()
    bare.save(file, format, **options)
    return read_image(file.getvalue(), max_pixels=image.width * image.height).rgb


def resize(image: Image.Image, factor: float) -> Image.Image:
    """Both sides times a factor, by Pillow's bicubic filter."""
    return image.resize(_scaled(image, factor), Image.Resampling.BICUBIC)


def shrink(image: Image.Image, side: float) -> Image.Image:
    """The longer side brought down to so many pixels, if it has more."""
    longer = max(image.size)
    return image if longer <= round(side) else resize(image, round(side) / longer)


def pad(image: Image.Image) -> Image.Image:
    """In the middle of a square of CLIP's mean colour."""
    if image.width == image.height:
        return image
    image = shrink(image, MAX_SQUARE)
    side = max(image.size)
    square = Image.new("RGB", (side, side), BACKGROUND)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def crop(image: Image.Image, share: float) -> Image.Image:
    """The middle share of each side."""
    width, height = _scaled(image, share)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _scaled(image: Image.Image, factor: float) -> tuple[int, int]:
    """(width, height) times a factor, at least one pixel each."""
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def gauss(image: Image.Image, variance: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian noise of that variance on the scale 0 to 255, drawn for each pixel and channel."""
    pixels = np.array(image)
    scale = np.float32(math.sqrt(variance))
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        band = pixels[top : top + rows]
        noise = rng.standard_normal(band.shape, np.float32) * scale
        band[:] = np.rint(band + noise).clip(0, 255)
    return Image.fromarray(pixels)


def flip(image: Image.Image) -> Image.Image:
    """Mirrored left to right."""
    return ImageOps.mirror(image)


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Turned counter-clockwise (bicubic), same size, corners cut off or black."""
    return image.rotate(degrees, Image.Resampling.BICUBIC)


def sharpen(image: Image.Image, factor: float) -> Image.Image:
    """Sharpness by Pillow's ImageEnhance; 1 is the original."""
    return ImageEnhance.Sharpness(image).enhance(factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """Contrast by Pillow's ImageEnhance; 1 is the original."""
    return ImageEnhance.Contrast(image).enhance(factor)


def blur(image: Image.Image, radius: float) -> Image.Image:
    """Gaussian blur; the radius is its standard deviation in pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


OPERATORS = {
    "jpeg": Operator(lambda image, quality, _: jpeg(image, quality), "quality", 1, 100),
    "webp": Operator(lambda image, quality, _: webp(image, quality), "quality", 1, 100),
    "resize": Operator(lambda image, factor, _: resize(image, factor), "factor on both sides", 0.05, 4),
    "shrink": Operator(lambda image, side, _: shrink(image, side), "pixels of the longer side", 16, 65_500),
    "crop": Operator(lambda image, share, _: crop(image, share), "share of each side", 0.05, 1),
    "gauss": Operator(gauss, "variance on the scale 0 to 255", 0, 65_025),
    "rotate": Operator(lambda image, degrees, _: rotate(image, degrees), "degrees", -180, 180),
    "sharpen": Operator(lambda image, factor, _: sharpen(image, factor), "factor, 1 is the original", 0, 20),
    "contrast": Operator(lambda image, factor, _: contrast(image, factor), "factor, 1 is the original", 0, 20),
    "blur": Operator(lambda image, radius, _: blur(image, radius), "pixels of standard deviation", 0, 100),
    "flip": Operator(lambda image, strength, _: flip(image), "", 0, 0),
    "pad": Operator(lambda image, strength, _: pad(image), "", 0, 0),
}
"""All of them by name, for what draws strengths."""
