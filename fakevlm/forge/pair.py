"""A real and a forged picture that differ in nothing but the artifact: one crop, one encoding, one length in bytes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fakevlm.data.record import Severity
from fakevlm.forge.clues import fake_answer, real_answer
from fakevlm.forge.encoding import Encoding, draw_encoding, encode_pair
from fakevlm.forge.family import forge
from fakevlm.forge.forged import Box, NotApplicableError, Pixels
from fakevlm.forge.photo import CROP_SHARES, crop


@dataclass(frozen=True, slots=True)
class Pair:
    """A crop of a photograph and its forged twin."""

    real: bytes
    """The file of the crop."""
    fake: bytes
    """The file of its twin: the same format, settings, dimensions and number of bytes."""
    real_rgb: Pixels
    """What was encoded, uint8[edge, edge, 3]."""
    fake_rgb: Pixels
    real_answer: str
    fake_answer: str
    family: str
    severity: Severity
    box: Box
    """Outside it the two pictures are the same before they are encoded."""
    facts: dict[str, float]
    encoding: Encoding

    @property
    def edge(self) -> int:
        """Width and height in pixels."""
        return int(self.real_rgb.shape[0])


def make_pair(
    photo: Image.Image,
    *,
    family: str,
    severity: Severity,
    rng: np.random.Generator,
    edge: int,
    donor: Image.Image | None = None,
    shares: tuple[float, float] = CROP_SHARES,
) -> Pair:
    """Crops an RGB photograph to `edge` x `edge` pixels, forges the crop, and encodes both alike.

    The forged picture is made from the very pixels of the real one, and each is encoded once. `donor` is another
    photograph, for `splice`. The same generator state gives the same pair. Raises NotApplicableError when the crop does
    not let the artifact show (another crop may), ValueError when a photograph's shorter side is under `edge`.
    """
    real = crop(photo, edge, rng, shares=shares)
    other = None if donor is None or family != "splice" else crop(donor, edge, rng, shares=shares)
    forged = forge(real, family, severity, rng, other)
    encoding = draw_encoding(rng)
    files = encode_pair(real, forged.rgb, encoding)
    return Pair(
        real=files[0],
        fake=files[1],
        real_rgb=real,
        fake_rgb=forged.rgb,
        real_answer=real_answer(rng),
        fake_answer=fake_answer(family, severity, forged.box, rng),
        family=family,
        severity=severity,
        box=forged.box,
        facts=forged.facts,
        encoding=encoding,
    )


def first_pair(
    photo: Image.Image,
    *,
    families: Iterable[str],
    severity: Severity,
    rng: np.random.Generator,
    edge: int,
    donor: Image.Image | None = None,
    shares: tuple[float, float] = CROP_SHARES,
) -> Pair | None:
    """A pair of the first of `families` that shows in a crop of the photograph; None when none does, as in a blank."""
    for family in families:
        try:
            return make_pair(photo, family=family, severity=severity, rng=rng, edge=edge, donor=donor, shares=shares)
        except NotApplicableError:
            continue
    return None
