"""Images for fault drills: of all formats, and 5 % of them bad, in every way that an image can be bad.

Run `python -m tests.drill_images FOLDER` to look at them.
"""

import enum
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakevlm.errors import ErrorCode

MAX_BYTES = 400_000
"""The scan's limit that one kind of bad image is over, in bytes."""
MAX_PIXELS = 1_000_000
"""The scan's limit that another kind is over."""
POISON_RGB = (255, 0, 255)
"""All of a poison image; the fake engine dies of a top left pixel like this."""
BAD_EVERY = 20


class Fate(enum.Enum):
    """What happens to an object between the listing and the scan, or how it is served."""

    STAYS = "it stays in the bucket as it was listed"
    DELETED = "it is deleted"
    OVERWRITTEN = "it is overwritten with other bytes of the same length"
    REPLACED = "it is replaced by a longer one"
    FORBIDDEN = "a web server answers 403"
    BROKEN = "a web server answers 500, always"
    RESET = "a web server ends the connection in the middle of the file, always"


@dataclass(frozen=True)
class DrillImage:
    """One image: `code` is the error that the scan must report, None for a sound one of this `format` and size."""

    name: str
    data: bytes
    code: ErrorCode | None = None
    fate: Fate = Fate.STAYS
    format: str | None = None
    size: tuple[int, int] | None = None


def drill_images(count: int = 2000, *, seed: int = 0) -> Iterator[DrillImage]:
    """`count` images, no two alike; every twentieth is bad, and exactly one is poison."""
    random = np.random.default_rng(seed)
    sound, bad = list(_SOUND.items()), list(_BAD)
    poison_at = BAD_EVERY * (count // BAD_EVERY // 2)
    for number in range(count):
        if number == poison_at:
            yield DrillImage(f"{number:05}-poison.png", _encode(Image.new("RGB", (84, 84), POISON_RGB), "PNG"), _POISON)
        elif number % BAD_EVERY == 0:
            yield bad[number // BAD_EVERY % len(bad)](f"{number:05}", random)
        else:
            yield _sound(f"{number:05}", random, *sound[(number + number // BAD_EVERY) % len(sound)])


_POISON = ErrorCode.POISON


def _picture(random: np.random.Generator) -> Image.Image:
    """A soft random picture of a random odd size, RGB."""
    width, height = (int(side) for side in random.integers(30, 150, 2))
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encode(image, "JPEG", exif=exif)


def _few_colours(image: Image.Image) -> Image.Image:
    return image.quantize(64, Image.Quantize.FASTOCTREE)


def _moving_gif(image: Image.Image) -> bytes:
    return _encode(image, "GIF", save_all=True, append_images=[image.rotate(180)])


def _deep(image: Image.Image, format: str) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return _encode(Image.fromarray(grey), format)


_SOUND: dict[str, tuple[str, Callable[[Image.Image], bytes]]] = {
    "photo.jpg": ("JPEG", lambda image: _encode(image, "JPEG", quality=85)),
    "progressive.jpeg": ("JPEG", lambda image: _encode(image, "JPEG", progressive=True)),
    "grey.jpg": ("JPEG", lambda image: _encode(image.convert("L"), "JPEG")),
    "cmyk.jpg": ("JPEG", lambda image: _encode(image.convert("CMYK"), "JPEG")),
    "turned.jpg": ("JPEG", _turned),
    "plain.png": ("PNG", lambda image: _encode(image, "PNG", compress_level=1)),
    "alpha.png": ("PNG", lambda image: _encode(_see_through(image), "PNG", compress_level=1)),
    "palette.png": ("PNG", lambda image: _encode(_few_colours(image), "PNG")),
    "bits.png": ("PNG", lambda image: _encode(image.convert("1"), "PNG")),
    "deep.png": ("PNG", lambda image: _deep(image, "PNG")),
    "lossy.webp": ("WEBP", lambda image: _encode(image, "WEBP", method=0)),
    "lossless.webp": ("WEBP", lambda image: _encode(image, "WEBP", lossless=True, method=0)),
    "moving.webp": ("WEBP", lambda image: _encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)])),
    "still.gif": ("GIF", lambda image: _encode(_few_colours(image), "GIF")),
    "moving.gif": ("GIF", lambda image: _moving_gif(_few_colours(image))),
    "plain.bmp": ("BMP", lambda image: _encode(image, "BMP")),
    "plain.tiff": ("TIFF", lambda image: _encode(image, "TIFF")),
    "lzw.tif": ("TIFF", lambda image: _encode(image, "TIFF", compression="tiff_lzw")),
    "deep.tif": ("TIFF", lambda image: _deep(image, "TIFF")),
    "plain.avif": ("AVIF", lambda image: _encode(image, "AVIF", speed=10)),
}


def _see_through(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(128)
    return image


def _sound(
    number: str, random: np.random.Generator, name: str, kind: tuple[str, Callable[[Image.Image], bytes]]
) -> DrillImage:
    image = _picture(random)
    format, encode = kind
    size = (image.height, image.width) if name == "turned.jpg" else image.size
    return DrillImage(f"{number}-{name}", encode(image), format=format, size=size)


Make = Callable[[str, np.random.Generator], DrillImage]


def _is(code: ErrorCode, name: str, data: Callable[[np.random.Generator], bytes], fate: Fate = Fate.STAYS) -> Make:
    return lambda number, random: DrillImage(f"{number}-{name}", data(random), code, fate)


def _photo(random: np.random.Generator) -> bytes:
    return _encode(_picture(random), "JPEG")


def _cut(format: str, kept: float = 0.6) -> Callable[[np.random.Generator], bytes]:
    def make(random: np.random.Generator) -> bytes:
        picture = _picture(random).resize((200, 150))
        data = _encode(_few_colours(picture) if format == "GIF" else picture, format)
        return data[: int(len(data) * kept)]

    return make


def _words(text: str) -> Callable[[np.random.Generator], bytes]:
    return lambda random: f"{text}{random.integers(10**9)}".encode()


def _large(random: np.random.Generator) -> bytes:
    return _encode(Image.fromarray(random.integers(0, 256, (400, 400, 3), dtype=np.uint8)), "BMP")


def _wide(random: np.random.Generator) -> bytes:
    return _encode(Image.new("RGB", (1200, 900 + int(random.integers(100))), (9, 9, 9)), "PNG")


_BAD: list[Make] = [
    _is(ErrorCode.NOT_FOUND, "deleted.jpg", _photo, Fate.DELETED),
    _is(ErrorCode.CHANGED, "overwritten.jpg", _photo, Fate.OVERWRITTEN),
    _is(ErrorCode.CHANGED, "replaced.jpg", _photo, Fate.REPLACED),
    _is(ErrorCode.DENIED, "forbidden.jpg", _photo, Fate.FORBIDDEN),
    _is(ErrorCode.FETCH_FAILED, "broken.jpg", _photo, Fate.BROKEN),
    _is(ErrorCode.FETCH_FAILED, "reset.jpg", _photo, Fate.RESET),
    _is(ErrorCode.EMPTY, "empty.jpg", lambda _: b""),
    _is(ErrorCode.TOO_LARGE, "large.bmp", _large),
    _is(ErrorCode.TOO_MANY_PIXELS, "wide.png", _wide),
    _is(ErrorCode.NOT_AN_IMAGE, "words.jpg", _words("not an image at all ")),
    _is(ErrorCode.NOT_AN_IMAGE, "page.jpg", _words("<html><body>404 Not Found</body></html>")),
    _is(ErrorCode.NOT_AN_IMAGE, "noise.png", lambda random: bytes([0, *random.integers(0, 256, 500, dtype=np.uint8)])),
    _is(ErrorCode.UNSUPPORTED_FORMAT, "vector.png", _words("<svg xmlns='http://www.w3.org/2000/svg'><!-- -->")),
    _is(ErrorCode.UNSUPPORTED_FORMAT, "paper.jpg", _words("%PDF-1.7\n")),
    _is(ErrorCode.UNSUPPORTED_FORMAT, "layers.jpg", _words("8BPS\0\1")),
    _is(ErrorCode.UNSUPPORTED_FORMAT, "phone.jpg", _words("\0\0\0\x18ftypheic\0\0\0\0mif1heic")),
    _is(ErrorCode.TRUNCATED, "cut.jpg", _cut("JPEG")),
    _is(ErrorCode.TRUNCATED, "cut.png", _cut("PNG")),
    _is(ErrorCode.TRUNCATED, "cut.webp", _cut("WEBP")),
    _is(ErrorCode.TRUNCATED, "cut.gif", _cut("GIF", 0.4)),
    _is(ErrorCode.TRUNCATED, "cut.bmp", _cut("BMP")),
]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    for image in drill_images():
        (folder / image.name).write_bytes(image.data)
