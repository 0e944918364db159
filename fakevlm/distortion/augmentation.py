"""Changes pictures at random by the operators of a robustness evaluation, each showing of a picture in its own way."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from fakevlm.distortion.operators import OPERATORS
from fakevlm.errors import ErrorCode, ImageError

MAX_ENLARGED_PIXELS = 1 << 26
"""A picture is not enlarged to more pixels than this, which would take 200 MB in every thread that reads images."""
_STREAM = 0xA06
"""Sets these draws apart from those of the data's order, which have the same seed."""


class Range(NamedTuple):
    """An operator of `OPERATORS`, and the strengths that are drawn from, all alike likely."""

    operator: str
    low: float
    high: float

    def __str__(self) -> str:
        """Name and strengths, such as `jpeg 40 to 95`."""
        return f"{self.operator} {self.low:g} to {self.high:g}" if OPERATORS[self.operator].strength else self.operator


class Change(NamedTuple):
    """One operator as it was drawn."""

    operator: str
    strength: float


@dataclass(frozen=True)
class Augmentation:
    """What is done to a picture follows from the seed, its record's position and the showing, and from nothing else.

    So it is the same for every number of workers and threads and after a restart, and does not know the label.

    >>> augmentation = Augmentation(1.0, 2, (Range("blur", 0.5, 3.0), Range("jpeg", 40, 95)), seed=0)
    >>> augmentation.changes(7, showing=0) == augmentation.changes(7, showing=0)
    True
    """

    probability: float
    """Share of the showings that are changed."""
    operations: int
    """Most operators in a row; how many is drawn, from 1 on."""
    ranges: tuple[Range, ...]
    """The operators to draw from, none twice."""
    seed: int

    def changes(self, sample: int, showing: int) -> tuple[Change, ...]:
        """What is done to a record's picture, in this order; mostly something, or nothing.

        `sample` is the record's position in the data, `showing` a number for each time that it is shown.
        """
        return self._draw(sample, showing)[0]

    def apply(self, image: Image.Image, sample: int, showing: int) -> Image.Image:
        """The RGB picture with these changes. One that a picture is too large for is left out."""
        changes, rng = self._draw(sample, showing)
        for operator, strength in changes:
            if operator == "resize" and strength > 1 and image.width * image.height * strength**2 > MAX_ENLARGED_PIXELS:
                continue
            try:
                image = OPERATORS[operator].apply(image, strength, rng)
            except ImageError as error:  # a file of that format cannot hold so long a side
                if error.code is not ErrorCode.TOO_MANY_PIXELS:
                    raise
        return image

    def _draw(self, sample: int, showing: int) -> tuple[tuple[Change, ...], np.random.Generator]:
        """The changes, and the generator from which noise is drawn."""
        rng = np.random.default_rng([_STREAM, self.seed, sample, showing])
        if not self.ranges or rng.random() >= self.probability:
            return (), rng
        count = int(rng.integers(1, min(self.operations, len(self.ranges)) + 1))
        chosen = [self.ranges[number] for number in rng.permutation(len(self.ranges))[:count]]
        return tuple(Change(of.operator, float(rng.uniform(of.low, of.high))) for of in chosen), rng

    def __str__(self) -> str:
        """In words, such as `50 % of the samples by up to 2 of blur 0.5 to 3, flip`."""
        count = min(self.operations, len(self.ranges))
        names = ", ".join(str(one) for one in self.ranges)
        how = names if len(self.ranges) == 1 else f"{'one' if count == 1 else f'up to {count}'} of {names}"
        return f"{self.probability * 100:.4g} % of the samples by {how}"
