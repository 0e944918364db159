"""Procedural stand-ins for photographs: overlapping shapes of all sizes with shading and grain, and pages of text."""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]


@cache
def leaves(edge: int, seed: int = 0) -> Pixels:
    """A square of shapes that hide one another, uint8[edge, edge, 3]: edges, flat parts and texture."""
    rng = np.random.default_rng(seed)
    scale = 3
    canvas = Image.new("RGB", (edge * scale, edge * scale), tuple(int(level) for level in rng.integers(40, 200, 3)))
    draw = ImageDraw.Draw(canvas)
    for _ in range(160):
        x, y = rng.uniform(0, edge * scale, 2)
        radius = edge * scale * float(np.clip(0.02 / rng.random(), 0.02, 0.25))
        box = (x - radius, y - radius * rng.uniform(0.4, 1), x + radius, y + radius)
        colour = tuple(int(level) for level in rng.integers(10, 245, 3))
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=colour)
    image = np.asarray(canvas.resize((edge, edge), Image.Resampling.BOX), np.float32)
    shade = np.linspace(0.7, 1.15, edge)[:, None, None]
    return (image * shade + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


@cache
def page(edge: int, seed: int = 0) -> Pixels:
    """A page with lines of text, uint8[edge, edge, 3]."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (edge, edge), (244, 240, 232))
    draw = ImageDraw.Draw(canvas)
    size = edge * 0.07
    font = ImageFont.load_default(size)
    for line in range(int(edge / size / 1.3)):
        words = ["".join(rng.choice(list("abcdefghimnoprstu"), rng.integers(2, 8))) for _ in range(6)]
        draw.text((edge * 0.05, line * size * 1.3), " ".join(words), fill=(30, 28, 40), font=font)
    return np.asarray(canvas)


def photograph(edge: int, seed: int = 0) -> Image.Image:
    """`leaves` as an image, wider than high."""
    return Image.fromarray(np.concatenate([leaves(edge, seed), leaves(edge, seed + 1000)], axis=1))
