"""Every way to do a step for less, beside the way it is or was done, and whether the pixels are the same."""

import hashlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from benchmarks.decode_bench.decoders import Decoder
from benchmarks.decode_bench.steps import MAX_PIXELS
from fakevlm import provenance, resampling
from fakevlm.image_file import jpeg
from fakevlm.near_duplicates.phash import phash
from fakevlm.preprocess import ImageSpec, decode, fit

Array = NDArray[Any]


@dataclass(frozen=True)
class Lever:
    """One way to do a step; the first of a step is what the others are compared with."""

    step: str
    name: str
    work: Callable[[], Any]
    result: Callable[[Any], Any] = lambda made: made
    """What must be equal, of what the work makes."""


def levers(data: bytes, kind: str, spec: ImageSpec, decoders: list[Decoder]) -> Iterator[Lever]:
    """Those that an image of this format can be tried with."""
    exact = decode(data, spec, max_pixels=MAX_PIXELS)
    image = _loaded(kind, data)
    rgb = image.convert("RGB")
    if kind == "JPEG" and image.mode == "RGB":
        step = "JPEG to RGB"
        yield Lever(step, "Pillow as it comes", partial(_jpeg, data), np.asarray)
        yield Lever(step, "the whole file at once", partial(_jpeg, data, block=True), np.asarray)
        yield Lever(step, "straight to four bytes a pixel", partial(_jpeg, data, rgbx=True), np.asarray)
        yield Lever(step, "both (`jpeg.prepare`)", partial(_jpeg, data, block=True, rgbx=True), np.asarray)
        yield Lever(step, "in one call, in Pillow's hands (`jpeg.decoded`)", partial(_in_one_call, data), np.asarray)
    elif kind in ("PNG", "WEBP"):
        step = f"{kind} to RGB"
        yield Lever(step, "Pillow as it comes", lambda: _loaded(kind, data).convert("RGB"), np.asarray)
    else:
        return
    for decoder in decoders:
        if kind in decoder.formats:
            yield Lever(step, decoder.name, partial(decoder.decode, data))
            yield Lever(step, f"{decoder.name}, into Pillow", partial(_into_pillow, decoder, data), np.asarray)
    step = "file to the model's pixels"
    yield Lever(step, "as before these levers", partial(_plain, kind, data, spec))
    yield Lever(step, "`decode`", lambda: decode(data, spec, max_pixels=MAX_PIXELS).pixels)
    if kind == "JPEG":
        yield from _reduced(data, spec)
    yield from _resizing(rgb, spec)
    pixels = exact.pixels
    yield Lever("hash", "ImageHash", partial(_imagehash, pixels))
    yield Lever("hash", "`phash`", partial(phash, pixels))
    yield Lever("hash", "its transform as a product of matrices", partial(_matrix_hash, pixels))
    yield Lever("sha256", "hashlib", lambda: hashlib.sha256(data).digest())
    yield Lever("sha256", "... of a memoryview", lambda: hashlib.sha256(memoryview(data)).digest())
    yield Lever("origin", "`provenance.read`", lambda: provenance.read(data))
    yield Lever("origin", "... where a search finds a marker", partial(_searched, data))


def _reduced(data: bytes, spec: ImageSpec) -> Iterator[Lever]:
    step = "JPEG to the model's pixels"
    yield Lever(step, "exact", lambda: decode(data, spec, max_pixels=MAX_PIXELS).pixels)
    yield Lever(step, "`--decode fast`", lambda: decode(data, spec, max_pixels=MAX_PIXELS, decoding="fast").pixels)
    yield Lever(step, "reduced to the model's size at least", partial(_drafted, data, spec, 1))
    yield Lever(step, "reduced to four times it at least", partial(_drafted, data, spec, 4))


def _resizing(rgb: Image.Image, spec: ImageSpec) -> Iterator[Lever]:
    height, width = spec.resized(rgb.height, rgb.width)
    top, left = (height - spec.height) // 2, (width - spec.width) // 2
    kept = (left, top, left + spec.width, top + spec.height)
    across, down = rgb.width / width, rgb.height / height
    box = (left * across, top * down, (left + spec.width) * across, (top + spec.height) * down)
    if min(rgb.size) < 2 * min(spec.height, spec.width):
        return

    def whole(source: Image.Image = rgb, **options: Any) -> Image.Image:
        return source.resize((width, height), spec.resample, **options).crop(kept)

    step = "RGB to the model's pixels"
    yield Lever(step, "all of it, then cropped", whole, np.asarray)
    if rgb.height - height <= 2 * (rgb.width - width):  # else Pillow takes the columns first
        rows = partial(_needed_rows, rgb, height, width, spec)
        yield Lever(step, "only the rows that are needed", lambda: rows().crop(kept), np.asarray)
    if resampling.prepare():
        yield Lever(step, "compiled (`fit`)", partial(fit, rgb, spec), np.asarray)
    yield Lever(step, "`box=`", lambda: rgb.resize((spec.width, spec.height), spec.resample, box=box), np.asarray)
    for gap in (2.0, 3.0):
        yield Lever(step, f"`reducing_gap={gap:g}`", partial(whole, reducing_gap=gap), np.asarray)
    four = rgb.convert("RGBX")
    yield Lever(step, "as four bands", partial(whole, four), lambda image: np.asarray(image)[..., :3])
    yield from _other_resizing(np.asarray(rgb), spec, box)


def _needed_rows(rgb: Image.Image, height: int, width: int, spec: ImageSpec) -> Image.Image:
    """The resized image, where rows that the crop will take off may be anything."""
    scale = rgb.height / height
    reach = (spec.resample - 1) * max(scale, 1.0) + 1  # one row more than the filter takes: its bounds are rounded
    first = (height - spec.height) // 2
    upper = max(0, math.floor((first + 0.5) * scale - reach))
    lower = min(rgb.height, math.ceil((first + spec.height - 0.5) * scale + reach))
    image = Image.new("RGB", (width, rgb.height))
    image.paste(rgb.crop((0, upper, rgb.width, lower)).resize((width, lower - upper), spec.resample), (0, upper))
    return image.resize((width, height), spec.resample)


def _other_resizing(array: Array, spec: ImageSpec, box: tuple[float, ...]) -> Iterator[Lever]:
    step = "RGB to the model's pixels"
    try:
        import cv2
    except ImportError:
        return
    left, top, right, bottom = (round(edge) for edge in box)
    size = (spec.width, spec.height)
    yield Lever(
        step,
        "OpenCV, INTER_AREA",
        lambda: cv2.resize(array[top:bottom, left:right], size, interpolation=cv2.INTER_AREA),
    )


def _plain(kind: str, data: bytes, spec: ImageSpec) -> Array:
    image = ImageOps.exif_transpose(_loaded(kind, data)).convert("RGB")
    height, width = spec.resized(image.height, image.width)
    top, left = (height - spec.height) // 2, (width - spec.width) // 2
    resized = image.resize((width, height), spec.resample)
    return np.asarray(resized.crop((left, top, left + spec.width, top + spec.height)))


def _loaded(kind: str, data: bytes) -> Any:
    image: Any = Image.open(io.BytesIO(data), formats=(kind,))
    image.load()
    return image


def _jpeg(data: bytes, *, block: bool = False, rgbx: bool = False) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    tile, size = image.tile, image.decodermaxblock
    jpeg.prepare(image, len(data))
    if not rgbx:
        image.tile = tile
    if not block:
        image.decodermaxblock = size
    image.load()
    return image


def _in_one_call(data: bytes) -> Image.Image:
    pixels = jpeg.decoded(JpegImagePlugin.JpegImageFile(io.BytesIO(data)), data)
    if pixels is None:
        raise ValueError("left to Pillow")
    return pixels


def _into_pillow(decoder: Decoder, data: bytes) -> Image.Image:
    return Image.fromarray(decoder.decode(data))


def _drafted(data: bytes, spec: ImageSpec, margin: int) -> Array:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    height, width = spec.resized(image.height, image.width)
    drafted = image.draft(None, (margin * width, margin * height))
    resized = image.convert("RGB").resize((width, height), spec.resample, box=drafted[1] if drafted else None)
    top, left = (height - spec.height) // 2, (width - spec.width) // 2
    return np.asarray(resized.crop((left, top, left + spec.width, top + spec.height)))


def _grey(pixels: Array) -> Image.Image:
    image = Image.fromarray(pixels)
    return (image.reduce(2) if min(image.size) >= 128 else image).convert("L")


def _imagehash(pixels: Array) -> str | None:
    import imagehash

    grey = _grey(pixels)
    return None if np.asarray(grey).std() < 4 else str(imagehash.phash(grey, hash_size=16))


_COSINES = np.cos(np.pi / 128 * np.outer(np.arange(16), 2 * np.arange(64) + 1))


def _matrix_hash(pixels: Array) -> str | None:
    grey = _grey(pixels)
    if np.asarray(grey).std() < 4:
        return None
    square = np.asarray(grey.resize((64, 64), Image.Resampling.LANCZOS), dtype=np.float64)
    low = _COSINES @ square @ _COSINES.T
    return np.packbits(low > np.median(low)).tobytes().hex()


_MARKERS = (b"Exif", b"http://ns.adobe", b"jumb", b"c2pa", b"Photoshop 3.0", b"tEXt", b"iTXt", b"zTXt", b"eXIf",
            b"XMP ", b"AIGC", b"\xff\xfe")  # fmt: skip


def _searched(data: bytes) -> Any:
    return provenance.read(data) if any(marker in data for marker in _MARKERS) else provenance.Provenance()
