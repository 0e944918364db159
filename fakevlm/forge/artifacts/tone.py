"""Artifacts of light and colour: lighting against the scene's, colour past its outlines, tones in steps."""

import numpy as np

from fakevlm.data.record import Severity
from fakevlm.forge.artifacts.filters import box_blur, luma
from fakevlm.forge.artifacts.region import frame_or_panel, oval, size_of
from fakevlm.forge.forged import Forged, Pixels, blend

_LAMP = {"subtle": 0.2, "visible": 0.6, "strong": 0.85}
"""How far the ramp's ends go toward white and black."""
_LAMP_BORDER = {"subtle": 0.09, "visible": 0.03, "strong": 0.02}


def lighting(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """A region with an outline in which brightness runs in a ramp of its own from one side to the other."""
    place = oval(size_of(rgb), rng, radius=(0.2, 0.32), stretch=(1.0, 1.5), feather=_LAMP_BORDER[severity], wobble=0.15)
    direction = rng.uniform(0, 2 * np.pi)
    ramp = (place.x * np.cos(direction) + place.y * np.sin(direction)).clip(-1, 1)
    # Toward white on one side and toward black on the other, so that dark and bright surfaces both show it.
    strength = (_LAMP[severity] * rng.uniform(0.9, 1.1) * np.sign(ramp) * np.abs(ramp) ** 0.6)[..., None]
    image = rgb.astype(np.float32)
    art = np.where(strength > 0, image + strength * (255 - image), image * (1 + strength))
    return blend(rgb, art.astype(np.float32), place.mask, ramp=_LAMP[severity], radius=place.radius)


_BLEED_SHIFT = {"subtle": 0.02, "visible": 0.055, "strong": 0.09}
"""Displacement of colour against brightness, as a share of the shorter side; it is smeared over as much."""
_BLEED_TARGET = {"subtle": 3.0, "visible": 11.0, "strong": 19.0}
"""Wanted mean change, in levels of 255; the displaced colour is made stronger to come near it ..."""
_BLEED_GAIN = {"subtle": (0.8, 1.3), "visible": (1.5, 4.0), "strong": (2.0, 6.0)}
"""... by at least and at most these factors."""


def colour_bleeding(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """Colour displaced against brightness and smeared along the way. The brightness of every pixel stays."""
    shape = size_of(rgb)
    mask = frame_or_panel(shape, rng)
    image = rgb.astype(np.float32)
    brightness = luma(image)[..., None]
    chroma = image - brightness
    shift = max(1, round(min(shape) * _BLEED_SHIFT[severity] * rng.uniform(0.85, 1.15)))
    axis = int(rng.random() < 0.7)
    sources = np.arange(shape[axis]) - (shift if rng.random() < 0.5 else -shift)
    # The border is repeated into the gap.
    displaced = chroma.take(sources.clip(0, shape[axis] - 1), axis)
    bled = box_blur(displaced, 2 * (shift // 2) + 1, axis) - chroma
    low, high = _BLEED_GAIN[severity]
    gain = min(max(_BLEED_TARGET[severity] / max(float(np.abs(bled).mean()), 1e-3), low), high)
    art = (image + gain * bled).astype(np.float32)
    return blend(rgb, art, mask, shift=shift, gain=gain)


_TONES = {"subtle": 11.0, "visible": 5.0, "strong": 3.0}
"""Values that are left to each channel, about."""


def banding(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """Every channel rounded to a few values, after most of the grain that would hide the steps was averaged away."""
    shape = size_of(rgb)
    mask = frame_or_panel(shape, rng, side=(0.6, 0.85))
    step = 255 / (_TONES[severity] * rng.uniform(0.9, 1.1))
    image = rgb.astype(np.float32)
    width = 2 * round(min(shape) / 256) + 1
    image = box_blur(box_blur(image, width, 0), width, 1)
    offset = rng.uniform(0, step, 3).astype(np.float32)
    art = (np.floor((image + offset) / step) + 0.5) * step - offset
    return blend(rgb, art.astype(np.float32), mask, step=step)
