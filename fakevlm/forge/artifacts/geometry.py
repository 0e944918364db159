"""Artifacts of geometry: a part of the picture is swirled or thrown into waves."""

import numpy as np

from fakevlm.data.record import Severity
from fakevlm.forge.artifacts.filters import sample
from fakevlm.forge.artifacts.region import oval, size_of
from fakevlm.forge.forged import Forged, Pixels, blend

_WAVE_HEIGHT = {"subtle": 0.009, "visible": 0.022, "strong": 0.034}
"""Amplitude of the waves as a share of the shorter side."""
_SWIRL = {"subtle": 0.7, "visible": 2.4, "strong": 4.2}
"""Rotation in the middle of the swirl, in radians."""


_RADIUS = {"subtle": (0.18, 0.24), "visible": (0.28, 0.36), "strong": (0.3, 0.4)}


def warp(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """A round region whose content is turned around its middle, or displaced in waves."""
    shape = size_of(rgb)
    edge = min(shape)
    place = oval(shape, rng, radius=_RADIUS[severity], stretch=(1.0, 1.25), feather=0.03)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    distance = np.hypot(place.x, place.y).clip(max=1)
    # The displacement vanishes at the border, so that the outline itself shows no step.
    inward = 1 - distance**3
    swirls = rng.random() < 0.5
    if swirls:
        turn = float(rng.choice((-1, 1))) * _SWIRL[severity] * rng.uniform(0.85, 1.15) * (1 - distance) ** 1.2
        down, right = y - place.row, x - place.column
        source_y = place.row + down * np.cos(turn) - right * np.sin(turn)
        source_x = place.column + right * np.cos(turn) + down * np.sin(turn)
    else:
        height = edge * _WAVE_HEIGHT[severity] * rng.uniform(0.85, 1.15)
        length = edge * rng.uniform(0.09, 0.14)
        angle = rng.uniform(0, np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        wave = height * inward * np.sin(2 * np.pi * along / length + rng.uniform(0, 2 * np.pi))
        cross = 0.6 * height * inward * np.sin(2 * np.pi * across / length + rng.uniform(0, 2 * np.pi))
        source_y = y + wave * np.cos(angle) + cross * np.sin(angle)
        source_x = x - wave * np.sin(angle) + cross * np.cos(angle)
    art = sample(rgb.astype(np.float32), source_y, source_x)
    return blend(rgb, art, place.mask, swirl=float(swirls), radius=place.radius)
