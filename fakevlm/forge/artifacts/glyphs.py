"""The artifact of documents: lines of strokes that look like writing and are none."""

import numpy as np
from PIL import Image, ImageDraw

from fakevlm.data.record import Severity
from fakevlm.forge.artifacts.region import size_of
from fakevlm.forge.forged import Floats, Forged, Pixels, blend

_LINE = {"subtle": 0.055, "visible": 0.095, "strong": 0.13}
"""Distance of two lines as a share of the shorter side."""
_LINES = {"subtle": (2, 3), "visible": (3, 4), "strong": (3, 5)}
_WOBBLE = {"subtle": 0.05, "visible": 0.2, "strong": 0.3}
"""How far glyphs leave the line and differ in size, as a share of the line's height."""
_OVERLAP = {"subtle": 0.0, "visible": 0.12, "strong": 0.25}
"""How far a glyph reaches into its neighbour, as a share of its width."""
_MIN_CONTRAST = 70.0
"""Between paper and ink, in levels of 255."""


def garbled_text(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """A block of lines erased to the colour of the paper and written anew with glyphs of no alphabet."""
    height, width = shape = size_of(rgb)
    line = max(5.0, min(shape) * _LINE[severity] * rng.uniform(0.9, 1.15))
    lines = int(rng.integers(*_LINES[severity], endpoint=True))
    block = min(round((lines + 0.6) * line), round(0.8 * height)), round(width * rng.uniform(0.5, 0.8))
    top, left = (int(rng.integers(0, size - part + 1)) for size, part in zip(shape, block, strict=True))
    place = slice(top, top + block[0]), slice(left, left + block[1])
    area = rgb[place].astype(np.float32)
    paper = _paper(area, max(2, round(line / 2)))
    written = _writing(block, line, lines, severity, rng)[..., None]
    art = rgb.astype(np.float32)
    art[place] = paper + written * (_ink(area, paper) - paper)
    mask = np.zeros(shape, np.float32)
    ramps = [np.minimum(np.arange(size) + 1, size - np.arange(size)) / max(1.0, line / 6) for size in block]
    mask[place] = np.outer(*(ramp.clip(max=1) for ramp in ramps))
    return blend(rgb, art, mask, line=line, lines=lines)


def _paper(area: Floats, tile: int) -> Floats:
    """The brightest colour around each pixel: what is left of a page when its writing is taken away."""
    height, width = size_of(area)
    padded = np.pad(area, ((0, -height % tile), (0, -width % tile), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // tile, padded.shape[1] // tile
    brightest = padded.reshape(rows, tile, columns, tile, 3).max(axis=(1, 3)).clip(0, 255).astype(np.uint8)
    size = padded.shape[1], padded.shape[0]
    smooth = Image.fromarray(brightest).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(smooth, np.float32)[:height, :width]


def _ink(area: Floats, paper: Floats) -> Floats:
    """The colour [3] of the writing: the block's own darkest where it stands out, else a dark or a white one."""
    ink: Floats = np.percentile(area, 3, axis=(0, 1)).astype(np.float32)
    ground = float(paper.mean())
    if ground - float(ink.mean()) >= _MIN_CONTRAST:
        return ink
    return np.full(3, ground - 110 if ground > 120 else ground + 110, np.float32)


def _writing(block: tuple[int, int], line: float, lines: int, severity: Severity, rng: np.random.Generator) -> Floats:
    """The share of each pixel that ink covers, float32[height, width]."""
    height, width = block
    fine = 4 if width < 160 else 2
    canvas = Image.new("L", (width * fine, height * fine))
    draw = ImageDraw.Draw(canvas)
    line, wobble = line * fine, _WOBBLE[severity]
    pen = max(1, round(line * rng.uniform(0.1, 0.15)))
    for number in range(lines):
        base = (number + 1) * line
        wave, length = rng.uniform(0, 2 * np.pi), line * rng.uniform(3, 6)
        x, end = line * 0.4, canvas.width - line * (0.4 + rng.uniform(0, 2))
        left_in_word = int(rng.integers(2, 7))
        while x < end:
            size = line * 0.62 * (1 + 1.5 * wobble * rng.uniform(-1, 1))
            wide = size * rng.uniform(0.6, 1.0)
            bottom = base + line * wobble * (0.7 * np.sin(wave + 2 * np.pi * x / length) + 0.6 * rng.uniform(-1, 1))
            _glyph(draw, (x, bottom - size, x + wide, bottom), pen, rng)
            x += wide * (1 - _OVERLAP[severity]) + pen * 1.3
            left_in_word -= 1
            if left_in_word == 0:
                x += line * 0.35
                left_in_word = int(rng.integers(2, 7))
    covered = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32)
    return covered / np.float32(255)


def _glyph(
    draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], pen: int, rng: np.random.Generator
) -> None:
    """A few strokes in a box, as letters have them, put together at random."""
    left, top, right, bottom = box
    for _ in range(int(rng.integers(2, 5))):
        kind = int(rng.integers(4))
        if kind == 0:  # a stem
            x = rng.uniform(left, right)
            draw.line((x, top - (bottom - top) * 0.4 * float(rng.random() < 0.3), x, bottom), fill=255, width=pen)
        elif kind == 1:  # a bar
            y = rng.uniform(top, bottom)
            draw.line((left, y, right, y), fill=255, width=pen)
        elif kind == 2:  # a diagonal
            upper, lower = rng.uniform(left, right, 2)
            draw.line((upper, top, lower, bottom), fill=255, width=pen)
        else:  # a bow
            start = float(rng.uniform(0, 360))
            draw.arc(box, start, start + float(rng.uniform(120, 300)), fill=255, width=pen)
