"""Renders pictures with the statistics of natural ones where photographs are scarce: dead leaves, and land from above.

They widen what a detector sees of fine texture and occlusion; they are marked as rendered and are no photographs. The
random fields and camera effects at the end serve the rendered pages too.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Field = npt.NDArray[np.float32]
SIDE = 768
"""Pixels; all are square."""


def dead_leaves(seed: int, large: bool = False) -> Image.Image:
    """Leaves of sizes spread as 1 / r^3 that hide one another, each with its own colour, texture and shading.

    This is the dead leaves model (Matheron 1968; Lee, Mumford and Huang 2001), whose pictures have edges, occlusions
    and a power spectrum as natural ones do; with `large` few leaves fill most of the picture.
    """
    rng = np.random.default_rng([seed, 4 if large else 1])
    palette = rng.uniform(20, 235, (rng.integers(4, 9), 3)).astype(np.float32)
    palette += (palette.mean(1, keepdims=True) - palette) * rng.uniform(0.35, 0.85)
    stock = [unit(fractal(rng, SIDE, SIDE, slope)) for slope in (0.6, 1.0, 1.5)]
    canvas = ramp(stock[2], palette[:3])
    r_min, r_max = (rng.uniform(35, 80), 400) if large else (rng.uniform(12, 30), 260)
    # So many that next to nothing of the ground is left.
    for _ in range(int(rng.uniform(1, 1.6) * SIDE**2 / (r_min**2 * np.log(r_max / r_min)))):
        # The inverse of the distribution function of a density 1 / r^3 between the two radii.
        radius = (r_max**-2 + rng.random() * (r_min**-2 - r_max**-2)) ** -0.5
        _drop_leaf(rng, canvas, radius, palette, stock)
    return expose(rng, canvas, blur=rng.uniform(0.4, 1.0), noise=rng.uniform(0.8, 3.5))


def _drop_leaf(rng: np.random.Generator, canvas: Field, radius: float, palette: Field, stock: list[Field]) -> None:
    """Paint one leaf of this radius, in pixels, somewhere on the canvas."""
    size = int(2 * radius) + 3
    top, left = (int(x) for x in rng.integers(-size // 2, SIDE - size // 2, 2))
    mask = _leaf_mask(rng, size)
    rows = slice(max(top, 0), min(top + size, SIDE))
    columns = slice(max(left, 0), min(left + size, SIDE))
    mask = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left, None]
    height, width = mask.shape[:2]
    if not height or not width:
        return
    colour = palette[rng.integers(len(palette))] * rng.uniform(0.7, 1.25) + rng.normal(0, 8, 3)
    texture = stock[rng.integers(len(stock))][rows, columns]
    if rng.random() < 0.25:  # woven or striped
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 14)
        y, x = np.mgrid[:height, :width]
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        texture = (0.6 * texture + 0.2 * (wave + 1)).astype(np.float32)
    slope = rng.normal(0, 0.35, 2) / max(size, 1)
    y, x = np.mgrid[:height, :width]
    light = 1 + slope[0] * (y - height / 2) + slope[1] * (x - width / 2) + rng.uniform(0.15, 0.7) * (texture - 0.5)
    leaf = colour * light[..., None]
    canvas[rows, columns] += mask * (leaf - canvas[rows, columns])


def _leaf_mask(rng: np.random.Generator, size: int) -> Field:
    """The outline of a leaf in a square of this side: ellipse, box or uneven polygon, edges antialiased, 0 .. 1."""
    scale = 3
    image = Image.new("L", (size * scale, size * scale))
    kind = rng.random()
    count = 40 if kind < 0.45 else 4 if kind < 0.65 else int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count)) if kind >= 0.65 else np.linspace(0, 2 * np.pi, count, False)
    reach = rng.uniform(0.6, 1.0, count) if kind >= 0.65 else np.ones(count)
    squeeze, turn = rng.uniform(0.35, 1.0), rng.uniform(0, np.pi)
    x, y = reach * np.cos(angles), squeeze * reach * np.sin(angles)
    middle = size * scale / 2
    points = middle + middle * np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], -1)
    ImageDraw.Draw(image).polygon([(float(px), float(py)) for px, py in points], fill=255)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float32) / 255


LANDS = (
    ((38, 58, 30), (72, 92, 44), (120, 124, 72), (158, 142, 104), (186, 178, 160)),
    ((60, 42, 28), (110, 78, 50), (158, 118, 78), (196, 160, 116), (224, 204, 172)),
    ((20, 44, 26), (34, 66, 36), (52, 84, 46), (86, 106, 66), (132, 134, 104)),
    ((70, 74, 70), (104, 106, 98), (140, 140, 132), (188, 190, 190), (240, 242, 246)),
)
"""Colours from low to high ground: temperate, desert, forest, mountains."""
CROPS = ((92, 112, 52), (148, 132, 76), (62, 92, 42), (176, 158, 104), (112, 86, 60), (132, 148, 84), (84, 70, 50))


def land(seed: int) -> Image.Image:
    """Land from above: relief lit from one side, water, fields with furrows and roads, now and then clouds."""
    rng = np.random.default_rng([seed, 2])
    height = fractal(rng, SIDE, SIDE, rng.uniform(1.5, 2.1))
    fine = fractal(rng, SIDE, SIDE, 0.9)
    level = unit(height)
    picture = ramp(np.clip(level + 0.05 * fine, 0, 1), LANDS[rng.integers(len(LANDS))])
    if rng.random() < 0.6:
        _lay_fields(rng, picture, level)
    dy, dx = np.gradient(smooth(height, 1.0))
    sun = rng.uniform(0, 2 * np.pi)
    shade = np.tanh((dx * np.cos(sun) + dy * np.sin(sun)) * rng.uniform(6, 22))
    picture *= (1 + rng.uniform(0.15, 0.4) * shade + 0.06 * fine)[..., None]
    if rng.random() < 0.6:
        _flood(rng, picture, height, fine)
    if rng.random() < 0.3:
        cloud = np.clip(unit(fractal(rng, SIDE, SIDE, 1.7)) * 3 - rng.uniform(1.6, 2.3), 0, 1)[..., None]
        shadow = np.roll(cloud, tuple(int(x) for x in rng.integers(10, 40, 2)), (0, 1))
        picture = picture * (1 - 0.5 * shadow)
        picture += cloud * (rng.uniform(225, 245) - picture)
    haze = rng.uniform(0, 0.2)
    picture = picture * (1 - haze) + haze * np.array([170, 182, 196], np.float32)
    return expose(rng, picture.astype(np.float32), blur=rng.uniform(0.5, 1.0), noise=rng.uniform(0.8, 3.0))


def _lay_fields(rng: np.random.Generator, picture: Field, level: Field) -> None:
    """Cover the low ground with fields: the cells nearest to scattered points, on axes that need not be square."""
    count = int(rng.integers(30, 160))
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.5)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    u = x * np.cos(turn) + y * np.sin(turn)
    v = (y * np.cos(turn) - x * np.sin(turn)) * stretch
    ys, xs = rng.uniform(0, SIDE, (2, count))
    us = xs * np.cos(turn) + ys * np.sin(turn)
    vs = (ys * np.cos(turn) - xs * np.sin(turn)) * stretch
    nearest = np.full((SIDE, SIDE), np.inf, np.float32)
    second, owner = nearest.copy(), np.zeros((SIDE, SIDE), np.int32)
    for index in range(count):
        distance = np.maximum(np.abs(u - us[index]), np.abs(v - vs[index])).astype(np.float32)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        owner[closer] = index
        nearest = np.minimum(nearest, distance)
    colours = np.asarray(CROPS, np.float32)[rng.integers(len(CROPS), size=count)] * rng.uniform(0.8, 1.15, (count, 1))
    furrow = 1 + 0.06 * np.sin(v / stretch * 2 * np.pi / rng.uniform(3, 7))
    fields = colours[owner] * furrow[..., None]
    fields[second - nearest < rng.uniform(1.5, 4)] = rng.uniform(120, 190)
    low = np.clip((rng.uniform(0.5, 1.1) - level) * 12, 0, 1)[..., None]
    picture += low * (fields - picture)


def _flood(rng: np.random.Generator, picture: Field, height: Field, fine: Field) -> None:
    """A lake or sea in the lowest ground, or a river along a level line."""
    colour = np.array([rng.uniform(12, 50), rng.uniform(40, 90), rng.uniform(60, 120)], np.float32)
    water: npt.NDArray[np.floating]
    if rng.random() < 0.5:
        water = np.clip((np.quantile(height, rng.uniform(0.1, 0.4)) - height) * 40, 0, 1)
    else:
        course = fractal(rng, SIDE, SIDE, 2.2)
        dy, dx = np.gradient(course)
        water = np.clip(rng.uniform(2, 7) - np.abs(course) / np.maximum(np.hypot(dy, dx), 1e-3), 0, 1)
    picture += water[..., None] * (colour * (1 + 0.03 * fine[..., None]) - picture)


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
