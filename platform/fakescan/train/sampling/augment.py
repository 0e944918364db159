"""The settings of augmentation: which operators change images that are learnt from, how strongly, and how often."""

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from fakescan.settings.strict_model import StrictModel
from fakevlm.distortion.augmentation import Augmentation, Range
from fakevlm.distortion.operators import OPERATORS


def _range_of(operator: str) -> Callable[[Any], Any]:
    """What checks the strengths of an operator, which raises ValueError."""
    low, high = OPERATORS[operator].low, OPERATORS[operator].high

    def check(value: Any) -> Any:
        if value is None:
            return None
        numbers = list(value) if isinstance(value, list | tuple) else []
        if len(numbers) != 2 or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
            raise ValueError(f"two numbers are needed, [LOW, HIGH] between {low:g} and {high:g}; null leaves it out")
        if not low <= numbers[0] <= numbers[1] <= high:
            raise ValueError(f"{numbers} must be [LOW, HIGH] between {low:g} and {high:g}; null leaves it out")
        return tuple(numbers)

    return check


_Strengths = tuple[float, float] | None


class AugmentSettings(StrictModel):
    """How images are changed at random before they are learnt from: by what `evaluate --robustness` measures.

    Two numbers are the weakest and the strongest, between which each strength is drawn; null leaves an operator out.
    """

    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the samples that are changed. Drawn for each record in each epoch, whatever its label."""
    operations: Annotated[int, Field(ge=1)] = 2
    """Most operators in a row on one image; how many, which and in what order is drawn."""
    jpeg: Annotated[_Strengths, BeforeValidator(_range_of("jpeg"))] = (40, 95)
    """Quality of a JPEG file that the image goes through (Pillow's scale, colour 4:2:0)."""
    webp: Annotated[_Strengths, BeforeValidator(_range_of("webp"))] = (40, 95)
    """Quality of a lossy WebP file that the image goes through."""
    resize: Annotated[_Strengths, BeforeValidator(_range_of("resize"))] = (0.4, 1.0)
    """Factor on both sides, bicubic; the image stays at that size."""
    shrink: Annotated[_Strengths, BeforeValidator(_range_of("shrink"))] = None
    """Pixels that the longer side is brought down to, if it has more. Default: left out."""
    crop: Annotated[_Strengths, BeforeValidator(_range_of("crop"))] = (0.75, 1.0)
    """Share of each side that is kept, in the middle."""
    gauss: Annotated[_Strengths, BeforeValidator(_range_of("gauss"))] = (0, 25)
    """Variance of Gaussian noise, on the scale 0 to 255."""
    rotate: Annotated[_Strengths, BeforeValidator(_range_of("rotate"))] = (-20, 20)
    """Degrees counter-clockwise; the size stays, corners are cut off or black."""
    sharpen: Annotated[_Strengths, BeforeValidator(_range_of("sharpen"))] = (1.0, 2.0)
    """Sharpness by Pillow's ImageEnhance; 1 is the original, below it is smoother."""
    contrast: Annotated[_Strengths, BeforeValidator(_range_of("contrast"))] = (0.6, 1.4)
    """Contrast by Pillow's ImageEnhance; 1 is the original."""
    blur: Annotated[_Strengths, BeforeValidator(_range_of("blur"))] = (0.3, 3.5)
    """Standard deviation of a Gaussian blur, in pixels of the image as it is stored."""
    flip: bool = True
    """Whether mirroring left to right is one of the operators."""
    pad: bool = False
    """Whether putting the whole image on a square of CLIP's mean colour is one of them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self._ranges():
            raise ValueError("every operator is left out; name one, such as jpeg: [40, 95], or leave augment out")
        return self

    def _ranges(self) -> tuple[Range, ...]:
        chosen = {name: getattr(self, name) for name in OPERATORS}
        flags = {True: (0.0, 0.0), False: None}
        strengths = {name: flags[value] if isinstance(value, bool) else value for name, value in chosen.items()}
        return tuple(Range(name, *pair) for name, pair in strengths.items() if pair is not None)

    def augmentation(self, seed: int) -> Augmentation:
        """What these settings do, with the seed of a run."""
        return Augmentation(self.probability, self.operations, self._ranges(), seed)
