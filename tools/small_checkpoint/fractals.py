"""Random fields and camera effects that the rendered pictures share."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.float32]


def fractal(rng: np.random.Generator, height: int, width: int, slope: float) -> Field:
    """Noise whose amplitude falls with frequency as 1 / f^slope, H x W, mean 0 and standard deviation 1.

    Slope 1 is about that of natural textures, 2 is cloud or terrain.
    """
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(fy * height, fx * width)
    frequency[0, 0] = np.inf
    # White noise of random phase: its Fourier transform need not be computed.
    spectrum = np.exp(2j * np.pi * rng.random(frequency.shape))
    field = np.fft.irfft2(spectrum / frequency**slope, (height, width))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def unit(field: Field) -> Field:
    """The field scaled to 0 .. 1 by its 1 % and 99 % quantiles, clipped."""
    low, high = np.quantile(field, (0.01, 0.99))
    return np.clip((field - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def ramp(values: Field, colours: npt.ArrayLike) -> Field:
    """Colours, H x W x 3 in 0 .. 255, for values 0 .. 1: linear between the given K x 3 colours."""
    table = np.asarray(colours, np.float32)
    stops = np.linspace(0, 1, len(table))
    return np.stack([np.interp(values, stops, table[:, channel]) for channel in range(3)], -1).astype(np.float32)


def smooth(field: Field, radius: float) -> Field:
    """Gaussian blur of an H x W or H x W x 3 field with this standard deviation in pixels, at most 2."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-0.5 * (offsets / radius) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(5, 5) if axis == each else (0, 0) for each in range(field.ndim)]
        padded = np.pad(field, padding, mode="edge")
        size = field.shape[axis]
        blurred = np.zeros_like(field)
        for offset, weight in zip(offsets, weights, strict=True):
            if weight > 1e-4:
                window = [
                    slice(offset + 5, offset + 5 + size) if axis == each else slice(None) for each in range(field.ndim)
                ]
                blurred += np.float32(weight) * padded[tuple(window)]
        field = blurred
    return field


def expose(rng: np.random.Generator, scene: Field, blur: float, noise: float) -> Image.Image:
    """What a camera makes of a scene, H x W x 3 in 0 .. 255: a soft lens, shot and read noise, 8 bits.

    `blur` is in pixels, `noise` the standard deviation in levels at white.
    """
    soft = smooth(scene.astype(np.float32), blur)
    sigma = np.float32(noise) * np.sqrt(0.15 + 0.85 * np.clip(soft, 0, 255) / 255)
    grain = rng.standard_normal(soft.shape, np.float32)
    # Demosaicing makes the noise of neighbours alike.
    grain = 0.7 * grain + 0.5 * np.roll(grain, 1, 1) + 0.5 * np.roll(grain, 1, 0)
    return Image.fromarray(np.clip(soft + sigma * grain + 0.5, 0, 255).astype(np.uint8))
