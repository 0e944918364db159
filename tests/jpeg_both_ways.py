"""Damaged JPEG files, read by libjpeg-turbo in one call where it can, and by Pillow alone."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from fakevlm.errors import ImageError
from fakevlm.image_file import jpeg, read_image
from tests.drills.fakevlm.test_image_mutations import mutated

MAX_PIXELS = 1_000_000


@dataclass
class Comparison:
    """What came of some files."""

    different: list[int] = field(default_factory=list)
    """Numbers of those that are not read, or not refused, in the same way."""
    outcomes: Counter[str] = field(default_factory=Counter)
    in_one_call: int = 0


def compare(files: list[bytes], numbers: range) -> Comparison:
    """Reads as many damaged files both ways; a number always makes the same one of `files`."""
    found, decoded = Comparison(), jpeg.decoded

    def counted(*arguments: Any) -> Any:
        image = decoded(*arguments)
        found.in_one_call += image is not None
        return image

    for number in numbers:
        dice = random.Random(number)
        data = mutated(dice.choice(files), dice)
        with mock.patch.object(jpeg, "decoded", counted):
            first = _read(data)
        with mock.patch.object(jpeg, "decoded", return_value=None):
            second = _read(data)
        found.outcomes[first[0]] += 1
        if first != second:
            found.different.append(number)
    return found


def _read(data: bytes) -> tuple[Any, ...]:
    try:
        content = read_image(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        return error.code, error.message
    return "read", content.rgb.size, np.asarray(content.rgb).tobytes(), content.note
