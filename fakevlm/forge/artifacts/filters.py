"""Filters on float32 pictures: blur, luma and chroma, local contrast, sampling between pixels."""

import numpy as np
import numpy.typing as npt

from fakevlm.forge.forged import Floats

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in ITU-R BT.601, as JPEG uses them."""


def luma(image: Floats) -> Floats:
    """The brightness float32[height, width] of an RGB picture float32[height, width, 3]."""
    result: Floats = image @ _LUMA
    return result


def box_blur(image: Floats, width: int, axis: int) -> Floats:
    """The mean over `width` (odd) neighbours along `axis`; the border is repeated outward."""
    half = width // 2
    if half < 1:
        return image
    borders = [(half + 1, half) if number == axis else (0, 0) for number in range(image.ndim)]
    # Sums over a row in float32 would lose the last bits of what the subtraction below needs.
    sums = np.cumsum(np.pad(image, borders, mode="edge"), axis=axis, dtype=np.float64)
    size = image.shape[axis]
    after, before = (np.take(sums, np.arange(first, first + size), axis=axis) for first in (2 * half + 1, 0))
    mean: Floats = ((after - before) / (2 * half + 1)).astype(np.float32)
    return mean


def blur(image: Floats, sigma: float) -> Floats:
    """A picture [height, width] or [height, width, channels] blurred by about a Gaussian of `sigma` pixels.

    Three box filters in a row, whose variances add up: (width^2 - 1) / 12 each.
    """
    width = 2 * round((np.sqrt(4 * sigma**2 + 1) - 1) / 2) + 1
    for _ in range(3):
        image = box_blur(box_blur(image, width, 0), width, 1)
    return image


def local_contrast(image: Floats, sigma: float) -> Floats:
    """The standard deviation of brightness around each pixel, float32[height, width]."""
    brightness = luma(image)
    variance = blur(brightness**2, sigma) - blur(brightness, sigma) ** 2
    contrast: Floats = np.sqrt(variance.clip(min=0.0))
    return contrast


def sample(image: Floats, y: npt.NDArray[np.floating], x: npt.NDArray[np.floating]) -> Floats:
    """The values [..., 3] of a picture at fractional rows `y` and columns `x`, bilinear; outside, those at the border.

    The picture must be at least 2 pixels wide and high.
    """
    height, width = image.shape[:2]
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top = np.minimum(y.astype(np.intp), height - 2)
    left = np.minimum(x.astype(np.intp), width - 2)
    down = (y - top).astype(np.float32)[..., None]
    right = (x - left).astype(np.float32)[..., None]
    upper = image[top, left] * (1 - right) + image[top, left + 1] * right
    lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
    result: Floats = upper * (1 - down) + lower * down
    return result
