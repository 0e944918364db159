"""A forged picture: the changed pixels, where they are, and how strong the change is."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Box(NamedTuple):
    """A rectangle in shares of the picture's width and height; x to the right, y down, 0 to 1."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Forged:
    """A picture with one artifact. Pixels outside the box are those of the original."""

    rgb: Pixels
    """uint8[height, width, 3]."""
    box: Box
    facts: dict[str, float]
    """`change`: mean absolute difference inside the box, in levels of 255; and the family's own parameters."""


class NotApplicableError(Exception):
    """This picture cannot carry this artifact so that it shows; take another family or another picture."""

    def __init__(self, family: str, reason: str) -> None:
        super().__init__(f"{family}: {reason}")
        self.family = family
        self.reason = reason

    def __reduce__(self) -> tuple[type["NotApplicableError"], tuple[str, str]]:
        return NotApplicableError, (self.family, self.reason)


def blend(rgb: Pixels, art: Floats, mask: Floats, **facts: float) -> Forged:
    """Lays `art` over `rgb` where `mask` is above 0.

    `art` float32[height, width, 3] may leave 0 to 255, `mask` is float32[height, width], 0 to 1. Outside the box around
    the mask the result is the original to the bit.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise AssertionError("an artifact needs a region")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    before = rgb[top:bottom, left:right].astype(np.float32)
    mixed = before + mask[top:bottom, left:right, None] * (art[top:bottom, left:right] - before)
    out = rgb.copy()
    out[top:bottom, left:right] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    change = float(np.abs(out[top:bottom, left:right].astype(np.float32) - before).mean())
    box = Box(left / width, top / height, right / width, bottom / height)
    return Forged(out, box, {"change": change, **facts})
