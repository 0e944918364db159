"""Variants: the same pixels as evaluate's robustness and as a file made by hand; a failure is the variant's alone."""

import io
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakescan.isolation.child import USUAL_LIMITS
from fakescan.run.stability.columns import VARIANTS
from fakescan.scan.stability.variants import CONDITIONS, MakeVariants, Pixels, VariantMakers, content_of
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import read_image
from fakevlm.metrics.distortion import STRIP, distort
from fakevlm.preprocess import DecodedImage, ImageSpec, decode, try_decode

pytestmark = pytest.mark.unit

SPEC = ImageSpec(shortest_edge=84, crop=(84, 84))
MAX_PIXELS = 10**7


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def evaluated(data: bytes, condition: str) -> DecodedImage | ImageError:
    """What the decoder of evaluate's robustness makes of an image."""
    return try_decode(data, SPEC, max_pixels=MAX_PIXELS, change=lambda image: distort(image, condition, seed=3))


def test_the_variants_are_the_conditions_of_the_strip() -> None:
    assert CONDITIONS == STRIP
    assert [variant.name for variant in VARIANTS] == ["jpeg70", "half", "small", "flip", "pad"]


def test_variants_have_the_pixels_of_evaluates_robustness_and_of_files_made_by_hand(pictures: Path) -> None:
    make = MakeVariants(SPEC, MAX_PIXELS)
    for path in sorted(pictures.iterdir()):
        data = path.read_bytes()
        rgb = read_image(data, max_pixels=MAX_PIXELS).rgb
        rgb.info = {}  # else Pillow writes the orientation, which the pixels have already
        for condition, variant in zip(CONDITIONS, make((data, CONDITIONS)), strict=True):
            robustness = evaluated(data, condition)
            by_hand = decode(png(distort(rgb, condition, seed=3)), SPEC, max_pixels=MAX_PIXELS)
            assert not isinstance(robustness, ImageError)
            assert not isinstance(variant, ImageError)
            assert np.array_equal(variant, robustness.pixels), (path.name, condition)
            assert np.array_equal(variant, by_hand.pixels), (path.name, condition)


def test_a_picture_that_is_too_long_for_a_jpeg_lacks_that_variant_alone() -> None:
    data = png(Image.new("RGB", (70_000, 3), (9, 9, 9)))
    made = MakeVariants(SPEC, MAX_PIXELS)((data, CONDITIONS))
    assert [isinstance(one, ImageError) for one in made] == [True, False, False, False, False]
    assert isinstance(made[0], ImageError)
    assert made[0].code is ErrorCode.TOO_MANY_PIXELS


def test_what_is_wrong_with_a_file_is_said_of_each_of_its_variants() -> None:
    made = MakeVariants(SPEC, MAX_PIXELS)((b"no image", CONDITIONS))
    assert [one.code for one in made if isinstance(one, ImageError)] == [ErrorCode.NOT_AN_IMAGE] * 5


def test_contents_of_variants_are_their_own() -> None:
    contents = {content_of(bytes(32), number) for number in range(5)} | {content_of(b"\1" * 32, 0)}
    assert len(contents) == 6


@dataclass(frozen=True)
class DiesOfOne(MakeVariants):
    """Ends its process over one condition."""

    def __call__(self, item: tuple[bytes, tuple[str, ...]]) -> list[Pixels | ImageError]:
        if "flip" in item[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(item)


@pytest.fixture
def makers() -> Iterator[VariantMakers]:
    makers = VariantMakers(DiesOfOne(SPEC, MAX_PIXELS), USUAL_LIMITS, processes=1)
    yield makers
    makers.close()


def test_a_variant_that_kills_its_process_twice_alone_is_poison_and_the_others_are_made(makers: VariantMakers) -> None:
    data = png(Image.new("RGB", (90, 40), (1, 2, 3)))
    (coming,) = makers.begin([data])
    made = coming.result(timeout=60)
    flip = made.pop(3)
    assert isinstance(flip, ImageError)
    assert (flip.code, flip.message.partition(":")[0]) == (ErrorCode.POISON, "changing this image alone failed twice")
    others = (*CONDITIONS[:3], CONDITIONS[4])
    for one, expected in zip(made, MakeVariants(SPEC, MAX_PIXELS)((data, others)), strict=True):
        assert np.array_equal(one, expected)  # type: ignore[arg-type]
    reason = ImageError(ErrorCode.CHANGED, "why")
    assert makers.make(reason) == [reason] * 5
