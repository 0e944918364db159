"""Labelled images: photographs of samples/ and their forged twins, at the model's input size, in one file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.images import sample_photographs
from fakevlm.data.record import SEVERITIES
from fakevlm.forge import families_for, first_pair, shrink
from fakevlm.forge.pair import Pair
from fakevlm.preprocess import ImageSpec, decode

_CATEGORY = "scene"
_TRIES = 4


def write_labelled(file: Path, spec: ImageSpec, pairs: int, *, seed: int = 0) -> list[bool]:
    """Write `pixels`, uint8[2 * pairs, height, width, 3], to an .npz file: real and forged in turn.

    Returns whether each is forged. Families and severities come in turn; the same seed gives the same images.
    """
    edge = min(spec.height, spec.width)
    photographs = [shrink(photo, edge) for photo in sample_photographs() if min(photo.size) >= edge]
    pixels = [
        decode(data, spec, max_pixels=10**8).pixels
        for pair in forged_pairs(photographs, pairs, edge, seed=seed)
        for data in (pair.real, pair.fake)
    ]
    np.savez(file, pixels=np.stack(pixels))
    return [bool(number % 2) for number in range(len(pixels))]


def forged_pairs(photographs: Sequence[Image.Image], pairs: int, edge: int, *, seed: int) -> Iterator[Pair]:
    """At most `pairs` crops of `edge` pixels with their forged twins; families and severities come in turn."""
    families = families_for(_CATEGORY)
    for number in range(pairs):
        turn = number % len(families)
        for attempt in range(_TRIES):
            pair = first_pair(
                photographs[(number + attempt) % len(photographs)],
                families=(*families[turn:], *families[:turn]),
                severity=SEVERITIES[number % len(SEVERITIES)],
                rng=np.random.default_rng((seed, number, attempt)),
                edge=edge,
                donor=photographs[(number + attempt + 1) % len(photographs)],
            )
            if pair is not None:
                yield pair
                break
