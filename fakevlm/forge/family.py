"""The artifact families: which there are, what pictures they suit, and how much each severity changes at least."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fakevlm.data.record import CATEGORIES, SEVERITIES, Severity
from fakevlm.forge.artifacts.composite import inpainting, self_blend, splice
from fakevlm.forge.artifacts.geometry import warp
from fakevlm.forge.artifacts.glyphs import garbled_text
from fakevlm.forge.artifacts.spectrum import frequency, halo
from fakevlm.forge.artifacts.texture import checkerboard, repetition, smoothing
from fakevlm.forge.artifacts.tone import banding, colour_bleeding, lighting
from fakevlm.forge.forged import Forged, NotApplicableError, Pixels

Make = Callable[[Pixels, Severity, np.random.Generator, Pixels | None], Forged]

_SUBJECTS = ("animal", "human", "deepfake")
_PHOTOGRAPHS = tuple(category for category in CATEGORIES if category != "doc")

MIN_EDGE = 32
"""Pixels that the shorter side of a picture must have at least; artifacts are made for 100 and more."""
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Family:
    """One way in which synthesis shows."""

    name: str
    make: Make
    categories: tuple[str, ...]
    """Kinds of pictures that it is used on."""
    floors: Mapping[Severity, float]
    """Least mean absolute difference inside the box, in levels of 255."""


def _family(make: Make, categories: tuple[str, ...], subtle: float, visible: float, strong: float) -> Family:
    floors = dict(zip(SEVERITIES, (subtle, visible, strong), strict=True))
    return Family(make.__name__, make, categories, floors)


_ALL = (
    _family(checkerboard, CATEGORIES, 1.5, 5.0, 10.0),
    _family(smoothing, CATEGORIES, 1.0, 3.5, 6.0),
    _family(repetition, ("animal", "object", "scene", "satellite", "doc"), 6.0, 10.0, 14.0),
    _family(splice, _PHOTOGRAPHS, 6.0, 20.0, 30.0),
    _family(self_blend, _SUBJECTS, 3.0, 9.0, 15.0),
    _family(warp, CATEGORIES, 3.0, 8.0, 11.0),
    _family(garbled_text, ("doc",), 4.0, 8.0, 12.0),
    _family(lighting, CATEGORIES, 5.0, 17.0, 27.0),
    _family(colour_bleeding, _PHOTOGRAPHS, 1.5, 7.0, 11.0),
    _family(inpainting, CATEGORIES, 3.0, 9.0, 12.0),
    _family(frequency, CATEGORIES, 1.5, 6.0, 10.0),
    _family(halo, CATEGORIES, 2.0, 7.0, 12.0),
    _family(banding, _PHOTOGRAPHS, 3.0, 8.0, 13.0),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
"""All families by name."""


def families_for(category: str) -> tuple[str, ...]:
    """Names of the families that suit a category. Raises KeyError for an unknown one."""
    if category not in CATEGORIES:
        raise KeyError(category)
    return tuple(family.name for family in _ALL if category in family.categories)


def forge(
    rgb: Pixels,
    family: str,
    severity: Severity,
    rng: np.random.Generator,
    donor: Pixels | None = None,
) -> Forged:
    """Puts one artifact into a picture uint8[height, width, 3]; the same generator state gives the same result.

    Where it lies and its parameters are drawn again until the mean change inside its box reaches the severity's floor.
    `donor` is another photograph, uint8[any, any, 3], from which `splice` takes its region. Raises NotApplicableError
    when the picture does not let the artifact show, as a white wall hides a warp; ValueError for a picture whose
    shorter side is under 32 pixels; KeyError for an unknown family.
    """
    if min(rgb.shape[:2]) < MIN_EDGE:
        raise ValueError(f"the picture is {rgb.shape[1]} x {rgb.shape[0]} pixels, at least {MIN_EDGE} are needed")
    chosen = FAMILIES[family]
    for _ in range(_TRIES):
        forged = chosen.make(rgb, severity, rng, donor)
        if forged.facts["change"] >= chosen.floors[severity]:
            return forged
    raise NotApplicableError(family, f"a {severity} artifact would not show in this picture")
