"""From the bytes of an image file to exactly the pixels that the checkpoint's image processor would make of it.

The reference is the PIL backend of transformers' CLIP image processor, called on the image as a viewer shows it: turned
as its EXIF orientation says, then converted to RGB by Pillow (an alpha channel is dropped, not blended).
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fakevlm.errors import ErrorCode, ImageError, UserError, one_line
from fakevlm.image_file import Reduced, read_image
from fakevlm.resampling import resized_crop

Pixels = npt.NDArray[np.uint8]

Decoding = Literal["exact", "fast"]
"""How the files of images are decoded: to the last pixel, or JPEG at a reduced size where enough is left."""

_FAST_MARGIN = 2
"""A JPEG that is decoded fast keeps at least so many times the pixels, across and down, of what it is resized to."""

MAX_RESIZED_PIXELS = 1 << 24
"""A resized image of more pixels than this is computed only where the crop keeps it."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation per channel that CLIP was trained with."""

CLIP_PROCESSORS = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor")


class SeenRegion(BaseModel):
    """The part of a picture that a model sees, in pixels of the picture as displayed."""

    model_config = ConfigDict(frozen=True)

    left: int
    top: int
    width: int
    height: int
    share: float
    """Of the picture's area, above 0, up to 1."""


class ImageSpec(BaseModel):
    """The steps of a checkpoint's image processor on an RGB image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shortest_edge: int | None = Field(default=None, ge=1)
    """Resize so that the shorter side has this many pixels, or ..."""
    resize: tuple[int, int] | None = None
    """... to exactly this (height, width), or, both None, not at all."""
    crop: tuple[int, int] | None = None
    """Then crop the centre of (height, width) pixels, padded with black where the image is smaller; None: no crop."""
    resample: int = Field(default=3, ge=2, le=3)
    """Pillow's filter: 2 bilinear, 3 bicubic."""
    rescale_factor: float | None = 1 / 255
    """Factor from a uint8 level to what is normalised; None: no rescaling."""
    image_mean: tuple[float, float, float] | None = None
    """Mean per channel, subtracted after rescaling; None: no normalisation."""
    image_std: tuple[float, float, float] | None = None
    """Standard deviation per channel, divided by after subtracting the mean."""

    @model_validator(mode="after")
    def _check(self) -> "ImageSpec":
        if self.resize is not None and self.shortest_edge is not None:
            raise ValueError("shortest_edge and resize exclude each other")
        if self.crop is None and self.resize is None:
            raise ValueError("without a centre crop, size must be a height and a width: a batch needs one image size")
        if min((*(self.resize or (1, 1)), *(self.crop or (1, 1)))) < 1:
            raise ValueError("heights and widths must be at least 1")
        return self

    @property
    def height(self) -> int:
        """Height of every output image in pixels."""
        size = self.crop or self.resize
        assert size is not None
        return size[0]

    @property
    def width(self) -> int:
        """Width of every output image in pixels."""
        size = self.crop or self.resize
        assert size is not None
        return size[1]

    @classmethod
    def from_preprocessor_config(cls, config: dict[str, Any]) -> "ImageSpec":
        """The spec of a CLIP image processor's `preprocessor_config.json`, old or new.

        Keys that are absent have the defaults of transformers. Raises UserError for what cannot be reproduced exactly.
        """
        kind = config.get("image_processor_type", config.get("feature_extractor_type", CLIP_PROCESSORS[0]))
        if kind not in CLIP_PROCESSORS:
            raise UserError(f"image processor {kind!r} is not supported: FakeVLM uses CLIPImageProcessor")
        if config.get("do_pad"):
            raise UserError("image processor with do_pad is not supported")
        size = config.get("size", {"shortest_edge": 224})
        crop = config.get("crop_size", {"height": 224, "width": 224})
        size = {"shortest_edge": size} if isinstance(size, int) else size
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        resizes, rescales, normalises = (config.get(f"do_{step}", True) for step in ("resize", "rescale", "normalize"))
        try:
            square = (size["height"], size["width"]) if "height" in size else None
            if set(size) - {"shortest_edge", "height", "width"}:
                raise ValueError(f"size {size} is not shortest_edge or height and width")
            return cls(
                shortest_edge=size["shortest_edge"] if resizes and square is None else None,
                resize=square if resizes else None,
                crop=(crop["height"], crop["width"]) if config.get("do_center_crop", True) else None,
                resample=config.get("resample", 3),
                rescale_factor=config.get("rescale_factor", 1 / 255) if rescales else None,
                image_mean=config.get("image_mean", CLIP_MEAN) if normalises else None,
                image_std=config.get("image_std", CLIP_STD) if normalises else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
            raise UserError(f"image processor settings cannot be used: {reason}") from None

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) that an image of this size has after resizing and before the crop."""
        if self.resize is not None:
            return self.resize
        if self.shortest_edge is None:
            return height, width
        short, long = sorted((height, width))
        longer = int(self.shortest_edge * long / short)
        return (longer, self.shortest_edge) if width <= height else (self.shortest_edge, longer)

    def seen(self, height: int, width: int) -> SeenRegion:
        """What of a picture of this size the crop keeps."""
        across, down = (width, 0, 1.0), (height, 0, 1.0)
        if self.crop is not None:
            rows, columns = self.resized(height, width)
            across, down = _kept(width, columns, self.crop[1]), _kept(height, rows, self.crop[0])
        return SeenRegion(left=across[1], top=down[1], width=across[0], height=down[0], share=across[2] * down[2])


def _kept(length: int, resized: int, crop: int) -> tuple[int, int, float]:
    """Of a side of `length` pixels, resized and cropped: pixels that the crop keeps, pixels before them, share."""
    if crop >= resized:
        return length, 0, 1.0
    first, last = (resized - crop) // 2, (resized - crop) // 2 + crop
    start, stop = round(first * length / resized), round(last * length / resized)
    return max(stop - start, 1), min(start, length - 1), crop / resized


class DecodedImage(NamedTuple):
    """An image ready for the model, and what it was."""

    pixels: Pixels
    """uint8[height, width, 3] of the spec, RGB, before rescaling and normalising. Read-only."""
    width: int
    """Width of the original in pixels, as displayed."""
    height: int
    """Height of the original in pixels, as displayed."""
    format: str
    """JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF or HEIF."""
    note: str = ""
    """What was wrong with the file although it could be read; mostly ""."""


def decode(
    data: bytes,
    spec: ImageSpec,
    *,
    max_pixels: int,
    change: Callable[[Image.Image], Image.Image] | None = None,
    decoding: Decoding = "exact",
) -> DecodedImage:
    """Decodes the bytes of an image file; the first frame of an animation. `change` is done to the whole RGB image.

    With `decoding` fast, a JPEG of at least four times the pixels across that it is resized to is decoded at a half, a
    quarter or an eighth of its size, unless there is a change: a little different pixels, for less time.

    Deeper greyscale keeps its upper eight bits, as Pillow's decoders do with sixteen-bit colour. Raises ImageError with
    `empty`, `not_an_image`, `unsupported_format`, `truncated` (damaged or cut off), or `too_many_pixels` when the
    header says more than `max_pixels`, before memory is allocated for them. A WebP image or a TIFF tile of more than
    twice Pillow's `Image.MAX_IMAGE_PIXELS` (179 million by default) is refused whatever `max_pixels` is.
    """
    is_fast = decoding == "fast" and change is None
    image = read_image(data, max_pixels=max_pixels, enough=_enough(spec) if is_fast else None)
    if image.reduced is not None:
        pixels = _fit_reduced(image.rgb, image.reduced, spec)
    else:
        pixels = fit(image.rgb if change is None else change(image.rgb), spec)
    return DecodedImage(pixels, *image.size, image.format, image.note)


def try_decode(
    data: bytes,
    spec: ImageSpec,
    *,
    max_pixels: int,
    change: Callable[[Image.Image], Image.Image] | None = None,
    decoding: Decoding = "exact",
) -> DecodedImage | ImageError:
    """`decode`, with whatever a decoder raises returned as an ImageError: it is about this one image.

    Raises MemoryError, which may not be the image's fault: it deserves to be tried again where there is more.
    """
    try:
        return decode(data, spec, max_pixels=max_pixels, change=change, decoding=decoding)
    except ImageError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        return error
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - one that is written in Rust panics with no Exception
        return ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"{type(error).__name__}: {one_line(error)}")


def fit(image: Image.Image, spec: ImageSpec) -> Pixels:
    """The spec's uint8[height, width, 3] for a Pillow image of mode RGB."""
    height, width = spec.resized(image.height, image.width)
    if height * width > MAX_RESIZED_PIXELS and (image.height, image.width) != (height, width):
        return _fit_long(image, height, width, spec)
    if (image.height, image.width) != (height, width):
        pixels = _compiled(image, height, width, spec)
        if pixels is not None:
            return pixels
        image = image.resize((width, height), spec.resample)
    return _crop(image, spec)


def _compiled(image: Image.Image, height: int, width: int, spec: ImageSpec) -> Pixels | None:
    """The same by compiled code, where this process has it and the image is one for it."""
    rows, columns = spec.crop or (height, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    if top < 0 or left < 0 or width == image.width or height == image.height:
        return None
    if _is_vertical_first(image, height, width):
        return None
    return resized_crop(image, (width, height), (left, top, left + columns, top + rows), spec.resample)


def _crop(image: Image.Image, spec: ImageSpec) -> Pixels:
    """The centre of a resized image that the spec's crop keeps; all of it without one."""
    if spec.crop is None:
        return np.asarray(image)
    top, left = (image.height - spec.height) // 2, (image.width - spec.width) // 2
    if top >= 0 and left >= 0:
        return np.asarray(image.crop((left, top, left + spec.width, top + spec.height)))
    return _pad(np.asarray(image), spec.height, spec.width)


def _is_vertical_first(image: Image.Image, height: int, width: int) -> bool:
    """Pillow 13's order: rows first, unless the height shrinks by more than twice as many pixels as the width."""
    return height < image.height and image.height - height > 2 * (image.width - width)


def _enough(spec: ImageSpec) -> Callable[[int, int], tuple[int, int]]:
    """How large a stored image of (width, height) must stay to be decoded fast; turning it changes nothing."""

    def enough(width: int, height: int) -> tuple[int, int]:
        rows, columns = spec.resized(height, width)
        if spec.resize is not None:
            rows = columns = max(spec.resize)
        if rows * columns > MAX_RESIZED_PIXELS:
            return width, height
        return _FAST_MARGIN * columns, _FAST_MARGIN * rows

    return enough


def _fit_reduced(image: Image.Image, reduced: Reduced, spec: ImageSpec) -> Pixels:
    """`fit`, for an image that was made smaller on decoding."""
    height, width = spec.resized(reduced.height, reduced.width)
    return _crop(image.resize((width, height), spec.resample, box=reduced.box), spec)


def _pad(pixels: Pixels, height: int, width: int) -> Pixels:
    """Crops the centre, padding with black as transformers' center_crop does (its rounding for odd differences)."""
    rows, columns = pixels.shape[:2]
    padded = np.zeros((max(rows, height), max(columns, width), 3), np.uint8)
    down, right = math.ceil((padded.shape[0] - rows) / 2), math.ceil((padded.shape[1] - columns) / 2)
    padded[down : down + rows, right : right + columns] = pixels
    top, left = (rows - height) // 2 + down, (columns - width) // 2 + right
    return padded[max(0, top) : top + height, max(0, left) : left + width]


def _fit_long(image: Image.Image, height: int, width: int, spec: ImageSpec) -> Pixels:
    """Resizes a very long image to (height, width) and crops it, computing only the stretch that the crop keeps.

    Pillow resizes one direction after the other and rounds to uint8 in between. The long direction is computed here, in
    the same arithmetic; the short one is left to Pillow, in the same order, so that the result is the same.
    """
    wide = width > height
    source, length, kept = (image.width, width, spec.width) if wide else (image.height, height, spec.height)
    kept = min(kept, length)
    start, weights = _weights(source, length, (length - kept) // 2, kept, spec.resample)
    stop = start + weights.shape[1]
    stretch = image.crop((start, 0, stop, image.height) if wide else (0, start, image.width, stop))
    if wide != _is_vertical_first(image, height, width):
        pixels = _resample(np.asarray(stretch), weights, axis=1 if wide else 0)
        across = (kept, height) if wide else (width, kept)
        pixels = np.asarray(Image.fromarray(pixels).resize(across, spec.resample))
    else:
        across = (stretch.width, height) if wide else (width, stretch.height)
        pixels = _resample(np.asarray(stretch.resize(across, spec.resample)), weights, axis=1 if wide else 0)
    return _pad(pixels, spec.height, spec.width) if spec.crop else pixels


# Pillow's 8-bit resampling (libImaging/Resample.c): weights in fixed point with this many bits after the point.
_PRECISION_BITS = 32 - 8 - 2


def _kernel(resample: int, x: float) -> float:
    """The value at `x` of Pillow's bilinear (2) or bicubic (3, a = -0.5) kernel."""
    x = abs(x)
    if resample == 2:
        return 1.0 - x if x < 1.0 else 0.0
    a = -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    if x < 2.0:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0


def _weights(source: int, length: int, first: int, count: int, resample: int) -> tuple[int, npt.NDArray[np.float64]]:
    """The weights of `count` outputs from `first` on, when `source` pixels are resized to `length`.

    The result is the first input pixel that matters and float64[count, inputs], whole numbers in fixed point.
    """
    scale = source / length
    filter_scale = max(scale, 1.0)
    support = (1.0 if resample == 2 else 2.0) * filter_scale
    spans: list[tuple[int, list[float]]] = []
    for output in range(first, first + count):
        center = (output + 0.5) * scale
        low = max(0, int(center - support + 0.5))
        high = min(source, int(center + support + 0.5))
        values = [_kernel(resample, (x - center + 0.5) * (1.0 / filter_scale)) for x in range(low, high)]
        total = sum(values)
        spans.append((low, [value / total for value in values] if total else values))
    start = min(low for low, _ in spans)
    stop = max(low + len(values) for low, values in spans)
    weights = np.zeros((count, stop - start))
    for row, (low, values) in zip(weights, spans, strict=True):
        row[low - start : low - start + len(values)] = [
            int(value * (1 << _PRECISION_BITS) + (0.5 if value >= 0 else -0.5)) for value in values
        ]
    return start, weights


def _resample(pixels: Pixels, weights: npt.NDArray[np.float64], *, axis: int) -> Pixels:
    """Applies fixed-point weights [outputs, inputs] to axis 0 or 1 of uint8[rows, columns, 3].

    Sums stay below 2^53, so that float64 adds them exactly in any order.
    """
    inputs = np.moveaxis(pixels, axis, 0)
    sums = weights @ inputs.reshape(inputs.shape[0], -1).astype(np.float64)
    levels = np.floor((sums + (1 << (_PRECISION_BITS - 1))) / (1 << _PRECISION_BITS)).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(levels.reshape(-1, *inputs.shape[1:]), 0, axis))
