"""Pictures that are the same to a viewer, found by perceptual hashes: images of a test split that training has seen.

The hash is PDQ (facebook/ThreatExchange): it survives another size, format or quality, not a crop or a mirror image. A
picture that was forged in a few places may be a near duplicate of the real one that it was made from.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fakevlm.errors import UserError

Bits = npt.NDArray[np.uint8]

LIMIT = 31
"""Bits of 256 in which two hashes of one picture may differ (ThreatExchange's PDQ_CONFIDENT_MATCH_THRESHOLD)."""

MIN_QUALITY = 50
"""Quality under which a hash says too little to be compared, as ThreatExchange advises: blank and smooth pictures."""

_SIDE = 512
"""Pixels that a picture is resized to before it is hashed, as in ThreatExchange's C++ for large ones.

Small ones as well: under 256 pixels PDQ hardly smooths before it samples. Of copies of our sample images, saved anew or
at 0.3 to 3.3 times their size, one in twelve was not found; with this, one in eighty.
"""
_ROWS, _COLUMNS = 64, 2048
"""Size of the tile of distances that is computed at once; it stays in the processor's cache."""


class Hash(NamedTuple):
    """A picture's perceptual hash."""

    bits: Bits
    """uint8[32], the first bit highest, as PDQ's hexadecimal form has them."""
    quality: int
    """0 to 100: how much there is to be seen."""


class NearDuplicate(NamedTuple):
    """Two pictures that are alike."""

    first: int
    """Index into the first hashes."""
    second: int
    """Index into the second hashes."""
    distance: int
    """Bits of 256 that differ."""


def hash_image(image: Image.Image) -> Hash:
    """The hash of an RGB picture. Raises UserError without pdqhash."""
    try:
        import pdqhash
    except ModuleNotFoundError:
        raise UserError("searching for near duplicates needs pip install fakescan[evaluate]") from None
    square = image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    bits, quality = pdqhash.compute(np.asarray(square))
    return Hash(np.packbits(np.asarray(bits, np.uint8)), int(quality))


def near_duplicates(first: Bits, second: Bits, limit: int = LIMIT) -> list[NearDuplicate]:
    """For each of the first hashes the nearest of the second, if at most `limit` bits differ, in order.

    uint8[n, 32] and uint8[m, 32]; of several equally near the one that comes first. Leave hashes under `MIN_QUALITY`
    out: those of blank pictures are all alike.
    """
    rows, columns = _words(first), _words(second)
    duplicates: list[NearDuplicate] = []
    for top in range(0, len(rows), _ROWS):
        tile = rows[top : top + _ROWS]
        distance = np.full(len(tile), limit + 1)
        nearest = np.zeros(len(tile), np.int64)
        for left in range(0, len(columns), _COLUMNS):
            differing = _distances(tile, columns[left : left + _COLUMNS])
            place = differing.argmin(axis=1)
            least = differing[np.arange(len(tile)), place]
            nearer = least < distance
            distance[nearer], nearest[nearer] = least[nearer], left + place[nearer]
        for row in np.flatnonzero(distance <= limit):
            duplicates.append(NearDuplicate(top + int(row), int(nearest[row]), int(distance[row])))
    return duplicates


def _words(hashes: Bits) -> npt.NDArray[np.uint64]:
    """Hashes as uint64[n, 4]."""
    if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != 32:
        raise ValueError(f"hashes must be uint8[n, 32], got {hashes.dtype}{list(hashes.shape)}")
    return np.ascontiguousarray(hashes).view(np.uint64)


def _distances(rows: npt.NDArray[np.uint64], columns: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
    """The number of differing bits of each pair, uint16[rows, columns]: 256 do not fit into uint8."""
    total = np.zeros((len(rows), len(columns)), np.uint16)
    for word in range(4):
        total += np.bitwise_count(rows[:, None, word] ^ columns[None, :, word])
    return total
