"""From a photograph to the picture that is forged: one random square crop with a mild change of colour."""

import numpy as np
from PIL import Image

from fakevlm.forge.artifacts.filters import luma
from fakevlm.forge.forged import Pixels

CROP_SHARES = (0.35, 1.0)
"""Bounds of a crop's side as a share of the photograph's shorter side."""
_KEPT = 4
"""Times the edge that a photograph's shorter side keeps: a tight crop is still not enlarged."""


def shrink(photo: Image.Image, edge: int) -> Image.Image:
    """A large photograph reduced by a whole factor, so that many crops of `edge` pixels are quick to take."""
    factor = min(photo.size) // (_KEPT * edge)
    return photo.reduce(factor) if factor > 1 else photo


def crop(
    photo: Image.Image,
    edge: int,
    rng: np.random.Generator,
    *,
    shares: tuple[float, float] = CROP_SHARES,
) -> Pixels:
    """A square of the RGB photograph, uint8[edge, edge, 3], never enlarged; mirrored or not; colours changed mildly.

    Square, because models that crop the middle of a wide picture would not see an artifact near its ends. Raises
    ValueError when the photograph's shorter side is under `edge`.
    """
    short = min(photo.size)
    if short < edge:
        raise ValueError(f"the photograph's shorter side has {short} pixels, {edge} are needed")
    low, high = (float(np.clip(short * share, edge, short)) for share in shares)
    side = min(short, max(edge, round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))))
    left, top = (int(rng.integers(0, size - side + 1)) for size in photo.size)
    box = (left, top, left + side, top + side)
    square = photo.resize((edge, edge), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
    if rng.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _recoloured(np.asarray(square), rng)


def _recoloured(rgb: Pixels, rng: np.random.Generator) -> Pixels:
    """Brightness, contrast, saturation and white balance as they differ from one camera to the next."""
    original = rgb.astype(np.float32)
    grey = luma(original)[..., None]
    image = grey + rng.uniform(0.75, 1.25) * (original - grey)
    gains = rng.uniform(0.88, 1.12) * rng.uniform(0.96, 1.04, 3)
    image = (image * gains - 127.5) * rng.uniform(0.88, 1.12) + 127.5
    return np.rint(image).clip(0, 255).astype(np.uint8)
