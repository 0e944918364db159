"""Artifacts of texture: upsampling checkerboard, decoder smoothing, repeated patches."""

import numpy as np
import numpy.typing as npt

from fakevlm.data.record import Severity
from fakevlm.forge.artifacts.filters import local_contrast
from fakevlm.forge.artifacts.region import frame_or_panel, size_of
from fakevlm.forge.forged import Floats, Forged, Pixels, blend

_BOARD_LEVELS = {"subtle": 4.0, "visible": 13.0, "strong": 26.0}
"""Amplitude of the lattice on a flat surface, in levels of 255."""
_BOARD_SHARE = {"subtle": 0.05, "visible": 0.25, "strong": 0.45}
"""What the amplitude gains from the local contrast, which would hide it."""


def checkerboard(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """Bright and dark cells in turn, 1/64 to 1/40 of the shorter side wide, as transposed convolutions leave them."""
    height, width = shape = size_of(rgb)
    mask = frame_or_panel(shape, rng)
    image = rgb.astype(np.float32)
    cell = max(1.0, min(shape) * rng.uniform(1 / 64, 1 / 40))
    rows = np.cos(np.pi * (np.arange(height) / cell + rng.uniform(0, 2)))
    columns = np.cos(np.pi * (np.arange(width) / cell + rng.uniform(0, 2)))
    lattice = (1.8 * np.outer(rows, columns)).clip(-1, 1)
    contrast = local_contrast(image, max(1.0, min(shape) / 40)).clip(max=50)
    amplitude = _BOARD_LEVELS[severity] + _BOARD_SHARE[severity] * contrast
    tint = rng.uniform(0.85, 1.15, 3)
    art = (image + (lattice * amplitude)[..., None] * tint).astype(np.float32)
    return blend(rgb, art, mask, cell=cell, amplitude=_BOARD_LEVELS[severity])


_CODES = {"subtle": 14, "visible": 5, "strong": 1}
"""Components that are left of a tile beside its mean colour."""
_RESTORED = {"subtle": 0.6, "visible": 1.0, "strong": 1.0}
"""Share of the reconstruction in the result."""


def smoothing(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """The round trip through a linear autoencoder with few codes: a principal component analysis of the own tiles.

    Each tile keeps its mean colour and its projection on the leading components of all tiles' deviations.
    """
    height, width = shape = size_of(rgb)
    mask = frame_or_panel(shape, rng, side=(0.6, 0.85), feather=0.02)
    tile = max(3, round(min(shape) * rng.uniform(1 / 16, 1 / 11)))
    top, left = (int(start) for start in rng.integers(0, tile, 2))
    padded = np.pad(rgb, ((top, -(height + top) % tile), (left, -(width + left) % tile), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // tile, padded.shape[1] // tile
    tiles = padded.reshape(rows, tile, columns, tile, 3).transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1, 3)
    means = tiles.mean(axis=1, keepdims=True)
    detail = (tiles - means).reshape(rows * columns, -1)
    basis = _leading(detail @ detail.T, _CODES[severity], rng)
    restored = (basis @ (basis.T @ detail)).reshape(tiles.shape) + means
    whole = restored.reshape(rows, columns, tile, tile, 3).transpose(0, 2, 1, 3, 4).reshape(padded.shape)
    share = _RESTORED[severity]
    art = share * whole[top : top + height, left : left + width] + (1 - share) * rgb
    return blend(rgb, art.astype(np.float32), mask, tile=tile, codes=_CODES[severity])


def _leading(gram: npt.NDArray[np.float64], count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """About the `count` leading eigenvectors [n, count] of a symmetric matrix [n, n], by subspace iteration."""
    count = min(count, len(gram))
    vectors = rng.standard_normal((len(gram), min(count + 4, len(gram))))
    for _ in range(6):
        vectors, _ = np.linalg.qr(gram @ vectors)
    # The extra vectors speed up the others; these are sorted by what they hold.
    small = vectors.T @ gram @ vectors
    _, turn = np.linalg.eigh(small)
    leading: npt.NDArray[np.float64] = (vectors @ turn)[:, ::-1][:, :count]
    return leading


_CLONES = {"subtle": 2, "visible": 4, "strong": 6}
"""Copies along each side of the lattice."""
_ADAPTED = {"subtle": 0.8, "visible": 0.3, "strong": 0.0}
"""How far a copy takes the mean colour of the place where it is laid."""
_SEAM = {"subtle": 0.25, "visible": 0.08, "strong": 0.06}
"""Width of a copy's soft border as a share of its side."""


def repetition(rgb: Pixels, severity: Severity, rng: np.random.Generator, donor: Pixels | None) -> Forged:
    """One patch of the picture laid down again and again on a lattice, edge to edge or nearly so."""
    height, width = shape = size_of(rgb)
    edge = min(shape)
    count = _CLONES[severity]
    side = max(4, round(edge * rng.uniform(0.1, 0.14)))
    pitch = max(side, round(side * rng.uniform(1.0, 1.1)))
    span = min(pitch * (count - 1) + side, edge)
    image = rgb.astype(np.float32)
    patch = _busiest(image, side, rng)
    top, left = int(rng.integers(0, height - span + 1)), int(rng.integers(0, width - span + 1))
    ramp = np.minimum(np.arange(side) + 1, side - np.arange(side)) / max(1.0, _SEAM[severity] * side)
    stamp = np.minimum.outer(ramp, ramp).clip(max=1).astype(np.float32)
    mask, art = np.zeros(shape, np.float32), image.copy()
    for row in range(top, top + span - side + 1, pitch):
        for column in range(left, left + span - side + 1, pitch):
            place = slice(row, row + side), slice(column, column + side)
            shift = (image[place].mean(axis=(0, 1)) - patch.mean(axis=(0, 1))) * _ADAPTED[severity]
            art[place], mask[place] = patch + shift, stamp
    return blend(rgb, art, mask, patch=side, copies=count**2)


def _busiest(image: Floats, side: int, rng: np.random.Generator) -> Floats:
    """Of a dozen random squares of the picture the one with the most contrast: copies of it are told apart easily."""
    height, width = size_of(image)
    rows, columns = rng.integers(0, height - side + 1, 12), rng.integers(0, width - side + 1, 12)
    squares = [image[row : row + side, column : column + side] for row, column in zip(rows, columns, strict=True)]
    return max(squares, key=lambda square: float(square.std(axis=(0, 1)).mean())).copy()
