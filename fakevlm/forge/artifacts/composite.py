"""Artifacts of composition: a splice, a subject blended with itself, a hole that was filled."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from fakevlm.data.record import Severity
from fakevlm.forge.artifacts.filters import blur, sample
from fakevlm.forge.artifacts.region import Oval, oval, size_of
from fakevlm.forge.forged import Floats, Forged, NotApplicableError, Pixels, blend

_SPLICE_RADIUS = {"subtle": (0.12, 0.18), "visible": (0.18, 0.27), "strong": (0.24, 0.34)}
_SPLICE_BORDER = {"subtle": 0.08, "visible": 0.035, "strong": 0.02}
_SPLICE_MATCH = {"subtle": 0.9, "visible": 0.2, "strong": 0.0}
"""How far the donor's mean and spread are matched to those of the place."""
_SPLICE_GRAIN = {"subtle": 3.0, "visible": 9.0, "strong": 14.0}
"""Standard deviation of the grain that comes with the donor, as from a camera that gathers less light, in levels."""


def splice(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """A region of the `donor`, another photograph, with a blended border and coarser grain."""
    if donor is None:
        raise NotApplicableError("splice", "no other photograph to take the region from")
    shape = size_of(rgb)
    place = oval(
        shape, rng, radius=_SPLICE_RADIUS[severity], feather=_SPLICE_BORDER[severity], wobble=rng.uniform(0, 0.25)
    )
    image, other = rgb.astype(np.float32), _fitted(donor, shape, rng).astype(np.float32)
    inside = place.mask > 0.5
    here, there = image[inside], other[inside]
    matched = (other - there.mean(axis=0)) * (here.std() + 1) / (there.std() + 1) + here.mean(axis=0)
    grain = rng.normal(0, _SPLICE_GRAIN[severity], (*shape, 1))
    art = other + _SPLICE_MATCH[severity] * (matched - other) + grain
    return blend(rgb, art.astype(np.float32), place.mask, radius=place.radius)


def _fitted(donor: Pixels, shape: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random crop of the donor with the shape of the picture, mirrored or not; resized only where it is too small."""
    height, width = shape
    zoom = max(height / donor.shape[0], width / donor.shape[1], 1.0)
    if zoom > 1:
        size = (max(width, round(donor.shape[1] * zoom)), max(height, round(donor.shape[0] * zoom)))
        donor = np.asarray(Image.fromarray(donor).resize(size, Image.Resampling.BICUBIC))
    top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(donor.shape, shape, strict=False))
    crop = donor[top : top + height, left : left + width]
    # Another place of the donor comes under the mask at every try.
    crop = np.roll(crop, (int(rng.integers(height)), int(rng.integers(width))), axis=(0, 1))
    return crop[:, ::-1] if rng.random() < 0.5 else crop


_GHOST_SHIFT = {"subtle": 0.02, "visible": 0.05, "strong": 0.08}
"""Distance between the two outlines as a share of the shorter side."""
_GHOST_TURN = {"subtle": 0.03, "visible": 0.08, "strong": 0.14}
"""Largest rotation in radians, and largest change of scale."""
_GHOST_TINT = {"subtle": 5.0, "visible": 16.0, "strong": 28.0}
"""Change of colour, in levels of 255."""


def self_blend(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """A shifted, turned, tinted copy of the picture, half transparent, in an upright oval around the middle."""
    shape = size_of(rgb)
    edge = min(shape)
    image = rgb.astype(np.float32)
    places = [
        oval(shape, rng, radius=(0.2, 0.3), stretch=(1.15, 1.45), feather=0.04, off_centre=0.15, upright=True)
        for _ in range(4)
    ]
    place = _most_detailed(places, image)
    direction = rng.uniform(0, 2 * np.pi)
    shift = max(1.0, edge * _GHOST_SHIFT[severity] * rng.uniform(0.8, 1.2))
    turn = float(rng.choice((-1, 1))) * _GHOST_TURN[severity] * rng.uniform(0.3, 1)
    zoom = 1 + float(rng.choice((-1, 1))) * _GHOST_TURN[severity] * rng.uniform(0.3, 1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    y, x = y - place.row, x - place.column
    copy = sample(
        image,
        zoom * (y * np.cos(turn) - x * np.sin(turn)) + place.row + shift * np.sin(direction),
        zoom * (x * np.cos(turn) + y * np.sin(turn)) + place.column + shift * np.cos(direction),
    )
    # A tint, not a change of brightness: one channel against the other two.
    tint = np.full(3, -0.5)
    tint[rng.integers(3)] = 1.0
    tint *= _GHOST_TINT[severity] * float(rng.choice((-1, 1))) * rng.uniform(0.9, 1.2)
    opacity = rng.uniform(0.45, 0.6)
    art = image + opacity * (copy - image) + tint
    return blend(rgb, art.astype(np.float32), place.mask, shift=shift, opacity=opacity)


_HOLE_RADIUS = {"subtle": (0.07, 0.1), "visible": (0.16, 0.23), "strong": (0.24, 0.32)}


def inpainting(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """A hole of irregular outline, filled by diffusion from its border, mostly along one direction.

    Diffusion in all directions gives the membrane that the border spans (the solution of Laplace's equation), which
    alone would look like a part out of focus; along one direction it leaves streaks. The hole is the one of several
    that covers the most detail, since on a flat surface nobody would see it.
    """
    shape = size_of(rgb)
    image = rgb.astype(np.float32)
    holes = [
        oval(shape, rng, radius=_HOLE_RADIUS[severity], stretch=(1.0, 1.6), feather=0.012, wobble=0.35)
        for _ in range(5)
    ]
    hole = _most_detailed(holes, image)
    open_ = hole.mask > 0
    rows, columns = np.flatnonzero(open_.any(axis=1)), np.flatnonzero(open_.any(axis=0))
    rim = 2  # pixels of the surroundings, which the membrane hangs on
    window = (
        slice(max(0, rows[0] - rim), rows[-1] + rim + 1),
        slice(max(0, columns[0] - rim), columns[-1] + rim + 1),
    )
    known, share = ~open_[window], _STREAKS[severity]
    streaks = streak_fill(image[window], known, axis=int(rng.integers(2)))
    art = image.copy()
    art[window] = share * streaks + (1 - share) * harmonic_fill(image[window], known)
    return blend(rgb, art, hole.mask, radius=hole.radius)


_STREAKS = {"subtle": 0.3, "visible": 0.8, "strong": 0.9}
"""Share of the diffusion along one direction."""


def _most_detailed(places: list[Oval], image: Floats) -> Oval:
    """The place under which the picture differs most from a blurred one."""
    detail = np.abs(image - blur(image, max(1.0, min(size_of(image)) / 40))).mean(axis=2)
    return max(places, key=lambda place: float((detail * place.mask).sum() / place.mask.sum()))


def streak_fill(image: Floats, known: npt.NDArray[np.bool_], *, axis: int) -> Floats:
    """Fill float32[height, width, channels] where `known` bool[height, width] is false, line by line along `axis`.

    A line is interpolated between its nearest known pixels; one that has none keeps what it holds.
    """
    lines, marks = (image.swapaxes(0, 1), known.T) if axis == 0 else (image, known)
    filled = lines.copy()
    positions = np.arange(lines.shape[1])
    for line, mark in zip(filled, marks, strict=True):
        if mark.any() and not mark.all():
            for channel in range(line.shape[1]):
                line[~mark, channel] = np.interp(positions[~mark], positions[mark], line[mark, channel])
    result: Floats = filled.swapaxes(0, 1) if axis == 0 else filled
    return result


_RELAXATIONS = 8


def harmonic_fill(image: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Fill float32[height, width, channels] where `known` bool[height, width] is false, smoothly from the rest.

    Coarse to fine: a filled picture of half the size is the first guess, which a few relaxations smooth.
    """
    height, width = known.shape
    if known.all():
        return image
    if min(height, width) <= 2 or not known.any():
        mean = image[known].mean(axis=0) if known.any() else np.zeros(image.shape[2], np.float32)
        return np.where(known[..., None], image, mean).astype(np.float32)
    odd = ((0, height % 2), (0, width % 2))
    weight = np.pad(known, odd).astype(np.float32)
    values = np.pad(image, (*odd, (0, 0))) * weight[..., None]
    rows, columns = weight.shape[0] // 2, weight.shape[1] // 2
    counts = weight.reshape(rows, 2, columns, 2).sum(axis=(1, 3))
    sums = values.reshape(rows, 2, columns, 2, -1).sum(axis=(1, 3))
    coarse = harmonic_fill(sums / np.maximum(counts, 1)[..., None], counts > 0)
    guess = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    unknown = ~known[..., None]
    filled = np.where(unknown, guess, image).astype(np.float32)
    for _ in range(_RELAXATIONS):
        around = np.pad(filled, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) / 4
        filled = np.where(unknown, mean, filled)
    return filled
