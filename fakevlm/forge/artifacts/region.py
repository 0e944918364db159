"""Where an artifact lies: soft masks float32[height, width] from 0 to 1, drawn at random inside the frame."""

from dataclasses import dataclass

import numpy as np

from fakevlm.forge.forged import Floats

Shape = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, slots=True)
class Oval:
    """A soft, possibly wobbly ellipse. All lengths in pixels."""

    mask: Floats
    row: float
    column: float
    radius: float
    """The smaller of the two half axes."""
    x: Floats
    """Along the longer half axis: -1 to 1 inside, float32[height, width]."""
    y: Floats
    """Along the other half axis."""


def size_of(image: Floats | np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Shape:
    """Height and width of a picture [height, width, 3]."""
    return image.shape[0], image.shape[1]


def _smooth(ramp: Floats) -> Floats:
    """0 below 0, 1 above 1, and a curve without corners between."""
    ramp = ramp.clip(0.0, 1.0)
    return ramp * ramp * (3 - 2 * ramp)


def oval(
    shape: Shape,
    rng: np.random.Generator,
    *,
    radius: tuple[float, float],
    stretch: tuple[float, float] = (1.0, 1.5),
    feather: float,
    wobble: float = 0.0,
    off_centre: float | None = None,
    upright: bool = False,
) -> Oval:
    """An ellipse inside the frame, lengths as shares of the shorter side.

    `radius` and `stretch` bound the shorter half axis and the ratio of the two, `feather` is the width of the soft
    border, `wobble` how far the outline leaves the ellipse, as a share of the radius. With `off_centre` the middle lies
    at most so far from the frame's. `upright` puts the long axis upright.
    """
    height, width = shape
    edge = min(shape)
    short = edge * rng.uniform(*radius)
    long = min(short * rng.uniform(*stretch), 0.46 * edge)
    margin = max(short, long)
    if off_centre is None:
        row, column = rng.uniform(margin, height - margin), rng.uniform(margin, width - margin)
    else:
        row, column = (size / 2 + edge * rng.uniform(-off_centre, off_centre) for size in shape)
    angle = np.pi / 2 if upright else rng.uniform(0, np.pi)
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    down, right = grid_y + 0.5 - row, grid_x + 0.5 - column
    along = ((right * np.cos(angle) + down * np.sin(angle)) / long).astype(np.float32)
    across = ((down * np.cos(angle) - right * np.sin(angle)) / short).astype(np.float32)
    distance = np.hypot(along, across)
    if wobble:
        turn = np.arctan2(across, along)
        waves = sum(np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
        distance = distance / (1 + wobble * (waves / 3 - 1))
    border = max(1.0, feather * edge)
    mask = _smooth((1 - distance) * np.float32(short / border))
    return Oval(mask.astype(np.float32), float(row), float(column), float(short), along, across)


def frame_or_panel(
    shape: Shape, rng: np.random.Generator, *, side: tuple[float, float] = (0.55, 0.8), feather: float = 0.04
) -> Floats:
    """The whole frame as often as a soft rectangle in it.

    `side` bounds the rectangle's sides as shares of the frame's, `feather` is a share of the shorter one.
    """
    if rng.random() < 0.5:
        return np.ones(shape, np.float32)
    sides = []
    for size in shape:
        length = size * rng.uniform(*side)
        start = rng.uniform(0, size - length)
        position = np.arange(size, dtype=np.float32) + 0.5
        border = max(1.0, feather * min(shape))
        sides.append(_smooth(np.minimum(position - start, start + length - position) / np.float32(border)))
    return np.outer(*sides).astype(np.float32)
