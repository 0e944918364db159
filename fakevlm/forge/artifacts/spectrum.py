"""Artifacts of spatial frequency: a band that was cut off and rings, and contours that were sharpened too far."""

import numpy as np

from fakevlm.data.record import Severity
from fakevlm.forge.artifacts.filters import blur, luma
from fakevlm.forge.artifacts.region import frame_or_panel, size_of
from fakevlm.forge.forged import Forged, Pixels, blend

_CUT = {"subtle": 34.0, "visible": 19.0, "strong": 13.0}
"""Cycles per shorter side beyond which nothing is left."""
_RIPPLE = {"subtle": 3.0, "visible": 11.0, "strong": 20.0}
"""Wanted standard deviation of the ringing, in levels of 255; it is amplified to come near it ..."""
_RIPPLE_GAIN = {"subtle": (1.0, 2.0), "visible": (2.0, 7.0), "strong": (2.5, 9.0)}
"""... by at least and at most these factors."""


def frequency(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """All frequencies above a sharp cut dropped, and those at the cut amplified: every contour rings.

    The picture is mirrored at its borders before the Fourier transform, which would join opposite ones.
    """
    height, width = shape = size_of(rgb)
    mask = frame_or_panel(shape, rng)
    image = rgb.astype(np.float32)
    margin = min(shape) // 4
    mirrored = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    spectrum = np.fft.rfft2(mirrored, axes=(0, 1))
    edge = min(shape)
    down = np.fft.fftfreq(mirrored.shape[0])[:, None] * edge
    right = np.fft.rfftfreq(mirrored.shape[1])[None] * edge
    cycles = np.hypot(down, right)
    # Not beyond what the picture can hold.
    cut = min(_CUT[severity] * rng.uniform(0.9, 1.15), 0.4 * edge)
    ring = np.exp(-(((cycles / cut - 0.92) / 0.09) ** 2))
    ripples = np.fft.irfft2(spectrum * ring[..., None], s=mirrored.shape[:2], axes=(0, 1))
    low, high = _RIPPLE_GAIN[severity]
    gain = min(max(_RIPPLE[severity] / max(float(ripples.std()), 1e-3), low), high)
    rest = np.fft.irfft2(spectrum * (cycles < cut)[..., None], s=mirrored.shape[:2], axes=(0, 1))
    art = (rest + (gain - 1) * ripples)[margin : margin + height, margin : margin + width]
    return blend(rgb, art.astype(np.float32), mask, cut=cut, gain=gain)


_HALO_TARGET = {"subtle": 4.0, "visible": 14.0, "strong": 24.0}
"""Wanted mean change, in levels of 255 ..."""
_HALO_GAIN = {"subtle": (0.5, 1.5), "visible": (2.5, 7.0), "strong": (4.5, 12.0)}
"""... by adding at least and at most so many times what a blur removes."""
_CORE = 4.0
"""Differences below it, in levels, are grain and not contours: they are left alone."""


def halo(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """Contours with bright and dark rims 1/50 to 1/32 of the shorter side wide: far more than cameras sharpen."""
    shape = size_of(rgb)
    mask = frame_or_panel(shape, rng)
    image = rgb.astype(np.float32)
    sigma = max(1.0, min(shape) * rng.uniform(1 / 50, 1 / 32))
    brightness = luma(image)
    detail = brightness - blur(brightness, sigma)
    contours = np.sign(detail) * (np.abs(detail) - _CORE).clip(min=0)
    low, high = _HALO_GAIN[severity]
    gain = rng.uniform(0.9, 1.1) * min(
        max(_HALO_TARGET[severity] / max(float(np.abs(contours).mean()), 1e-3), low), high
    )
    # Soft rims, so that they are seen as such and not as noise.
    rims = blur(contours, max(0.8, sigma / 3))
    art = image + (gain * rims)[..., None]
    return blend(rgb, art.astype(np.float32), mask, sigma=sigma, gain=gain)
