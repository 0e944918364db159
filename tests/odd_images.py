"""More than a thousand odd image files, made on the spot, and a check of them all in a process of its own.

`python -m tests.odd_images` prints a line of JSON: how many were read, refused and equal to the reference, and each
file whose outcome is wrong. A crash of a decoder ends that process and nothing else.
"""

import io
import itertools
import json
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageOps

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file import read_image
from tests.image_bytes import (
    EOI,
    chunk,
    inserted,
    orientation,
    picture,
    png,
    saved,
    segment,
    tiff,
    with_tag,
)

MAX_PIXELS = 1_000_000
MAX_MISSING = 0.03
"""Largest share of the pixels that may differ where the note says that some are missing: 2 %, in whole blocks."""
MAX_UNNOTICED = 0.014
"""Share of the pixels in the last block of 16 x 16, which may be half coded before an end marker that is there."""

Pixels = npt.NDArray[np.uint8]

EXCEPTIONS = {
    "grey of more than eight bits": "Pillow clips it to white; here it is scaled by its depth and meaning",
    "eight-bit colour map": "its writer took 8 for 16 bits; Pillow makes it black, libtiff and we do not",
    "signed": "Pillow reads bytes from -128 to 127 as 0 to 255; refused",
    "half, with an end": "Pillow reads grey or black where nothing is; refused",
}
"""Kinds of files that plain Pillow reads and that are read otherwise here, and why."""


@dataclass(frozen=True)
class OddImage:
    """One file. `pixels`: what it shows where that is known without its decoder; `kind`: a key of EXCEPTIONS or ""."""

    name: str
    data: bytes
    pixels: Pixels | None = None
    kind: str = ""
    must: str = ""
    """`read`: with exactly `pixels`, or the reference's; `refuse`; `cut`: either refused or, with a note, nearly so."""


def odd_images() -> Iterator[OddImage]:
    yield from _sound()
    yield from _depths()
    yield from _turned()
    yield from _odd_png()
    yield from _odd_jpeg()
    yield from _odd_tiff()
    yield from _odd_others()
    yield from _cut()


SOUND = {
    "JPEG": ("RGB L CMYK", ({}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 3},
                            {"quality": 9})),
    "PNG": ("1 L LA P RGB RGBA", ({}, {"compress_level": 0}, {"bits": 8}, {"dpi": (72, 72)})),
    "GIF": ("1 L P RGB", ({}, {"interlace": 0}, {"transparency": 3}, {"comment": b"a comment"})),
    "BMP": ("1 L P RGB RGBA", ({},)),
    "WEBP": ("L RGB RGBA", ({"method": 0}, {"lossless": True}, {"quality": 5})),
    "TIFF": ("1 L LA P RGB RGBA CMYK YCbCr LAB", ({}, {"compression": "tiff_lzw"}, {"compression": "packbits"},
                                           {"compression": "tiff_adobe_deflate"}, {"big_tiff": True})),
    "AVIF": ("L RGB RGBA", ({"speed": 10}, {"speed": 10, "subsampling": "4:4:4"})),
    "HEIF": ("L RGB RGBA", ({"quality": 50}, {"quality": -1, "chroma": 444}, {"tile_size": 64})),
}  # fmt: skip
"""Format to the modes and the options that its sound files are written with."""


def _sound() -> Iterator[OddImage]:
    for format, (modes, options) in SOUND.items():
        sizes = ((60, 40), (1, 1), (17, 33)) if format not in ("AVIF", "HEIF") else ((70, 90), (16, 16))
        for mode, (number, each), size in itertools.product(modes.split(), enumerate(options), sizes):
            data = saved(picture(*size, mode=mode), format, **each)
            yield OddImage(f"sound {format} {mode} {number} {size}", data, must="read")


def _depths() -> Iterator[OddImage]:
    """Greyscale of every depth in TIFF and PNG; the other colour types of PNG, interlaced or not."""
    random = np.random.default_rng(0)
    for bits, order, photometric, rows in itertools.product((1, 2, 4, 8, 10, 12, 14, 16), "<>", (0, 1), (None, 7)):
        samples = random.integers(0, 1 << bits, (23, 37)).astype(np.uint16)
        grey = samples >> bits - 8 if bits > 8 else samples * 255 // ((1 << bits) - 1)
        shown = np.repeat((255 - grey if photometric == 0 else grey).astype(np.uint8)[..., None], 3, axis=2)
        kind = "grey of more than eight bits" if bits > 8 else ""
        name = f"depth TIFF {bits} {order} {photometric} {rows}"
        yield OddImage(name, tiff(samples, bits, photometric, order=order, rows=rows), shown, kind, "read")
    for colour, depth, interlaced in itertools.product((0, 2, 3, 4, 6), (1, 2, 4, 8, 16), (False, True)):
        if depth not in {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(colour, (8, 16)):
            continue
        for width, height in ((19, 11), (1, 1), (5, 2)):
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            samples = random.integers(0, 1 << depth, (height, width * channels)).astype(np.uint16)
            palette = random.integers(0, 256, 3 << depth, np.uint8) if colour == 3 else np.zeros(0, np.uint8)
            data = png(samples, depth, colour, interlaced=interlaced, palette=palette.tobytes())
            eight = samples >> 8 if depth == 16 else samples if colour == 3 else samples * 255 // ((1 << depth) - 1)
            seen = eight.reshape(height, width, channels).astype(np.uint8)
            shown = {0: seen.repeat(3, 2), 4: seen[..., :1].repeat(3, 2)}.get(colour, seen[..., :3])
            shown = palette.reshape(-1, 3)[seen[..., 0]] if colour == 3 else shown
            kind = "grey of more than eight bits" if (colour, depth) == (0, 16) else ""
            yield OddImage(f"depth PNG {colour} {depth} {interlaced} {width}", data, shown, kind, "read")
    samples = random.integers(0, 256, (23, 37)).astype(np.uint16)
    yield OddImage("TIFF signed", tiff(samples, 8, tags=[(339, 3, [2])]), kind="signed", must="refuse")
    yield OddImage(
        "TIFF undefined", tiff(samples, 8, tags=[(339, 3, [4])]), samples[..., None].repeat(3, 2), must="read"
    )
    colours = random.integers(0, 256, (3, 256))
    for factor in (1, 256, 257):
        tags = [(320, 3, [int(value) * factor for value in colours.reshape(-1)])]
        kind = "eight-bit colour map" if factor == 1 else ""
        shown = colours[:, samples].transpose(1, 2, 0).astype(np.uint8)
        yield OddImage(f"TIFF palette {factor}", tiff(samples, 8, 3, tags=tags), shown, kind, "read")


def _turned() -> Iterator[OddImage]:
    for format, value in itertools.product(("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"), range(1, 9)):
        options = {"speed": 10} if format == "AVIF" else {}
        data = saved(picture(64, 32), format, exif=orientation(value), **options)
        yield OddImage(f"turned {format} {value}", data, must="read")


def _odd_png() -> Iterator[OddImage]:
    """Chunks that are no pixels, each empty, nonsense, cut, or with a wrong checksum, before and after the pixels."""
    kinds = b"pHYs gAMA cHRM sRGB iCCP tEXt zTXt iTXt eXIf tIME tRNS acTL fcTL sBIT bKGD hIST prVt".split()
    for mode, kind in itertools.product(("RGB", "L", "P"), kinds):
        image = picture(mode=mode)
        base = saved(image, "PNG")
        shown = np.asarray(image.convert("RGB"))
        odd = [
            chunk(kind, b""),
            chunk(kind, b"\xff" * 40),
            chunk(kind, b"\0" * 40, b"abcd"),
            chunk(kind, b"k\0\0x\x9c"),
        ]
        for number, piece in enumerate(odd):
            yield OddImage(f"chunk {mode} {kind!r} {number}", inserted(base, piece), shown, must="read")
            late = base[:-12] + piece + base[-12:]
            yield OddImage(f"late chunk {mode} {kind!r} {number}", late, shown, must="read")


def _odd_jpeg() -> Iterator[OddImage]:
    bodies = (
        *(
            b"",
            b"J",
            b"JFIF\0",
            b"JFIF\0\1\1",
            b"Adobe",
            b"Adobe\0d\0\0",
            b"Exif\0\0",
            b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        ),
        *(
            b"ICC_PROFILE\0",
            b"ICC_PROFILE\0\1",
            b"MPF\0",
            b"MPF\0II*\0\xff\xff\xff\xff",
            b"Photoshop 3.0\0008BIM\x03\xed",
        ),
        *(b"http://ns.adobe.com/xap/1.0/\0\xff", EOI * 20, b"\xff\xda" * 9),
    )
    for options in ({}, {"progressive": True}):
        base = saved(picture(), "JPEG", **options)
        shown = _plain(base)
        for marker, body in itertools.product((*range(0xE0, 0xF0), 0xFE), bodies):
            yield OddImage(
                f"segment {marker:x} {body[:9]!r}", inserted(base, segment(marker, body)), shown, must="read"
            )
        for length in (0, 1):
            yield OddImage(f"segment of {length}", inserted(base, segment(0xE5, b"", length)), shown, must="read")


def _odd_tiff() -> Iterator[OddImage]:
    tags = (254, 255, 269, 270, 271, 274, 281, 282, 283, 296, 305, 306, 315, 333, 340, 700, 33723, 34377, 34665, 34675,
            34853, 37724, 65000)  # fmt: skip
    values = ((2, 4, b"abc\0"), (3, 1, b"\xff\xff\0\0"), (5, 1, b"\xff\xff\xff\x7f"), (4, 10**6, bytes(4)),
              (7, 4, b"\xff\0\xff\0"), (13, 1, b"\1\0\0\0"), (99, 1, b"abcd"), (12, 1, bytes(4)))  # fmt: skip
    base = saved(picture(), "TIFF")
    for tag, (kind, count, value) in itertools.product(tags, values):
        data = with_tag(base, tag, kind, count, value)
        yield OddImage(f"tag {tag} {kind}", data, np.asarray(picture()), must="read")


def _odd_others() -> Iterator[OddImage]:
    gif = saved(picture(mode="P"), "GIF")
    extensions = (b"!\xfe\5hello\0", b"!\xf9\1\1\0", b"!\xf9\0", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", b"!\xff\0",
                  b"!\xff\x0bNETSCAPE2.0\1\1\0", b"!\xfe\0", b"!B\3abc\0")  # fmt: skip
    for number, extension in enumerate(extensions):
        yield OddImage(f"extension {number}", inserted(gif, extension), _plain(gif), must="read")
    for lossless in (False, True):
        webp = saved(picture(), "WEBP", lossless=lossless, exif=orientation(1), xmp=b"<x/>", icc_profile=b"abc" * 40)
        size = struct.unpack("<I", webp[4:8])[0]
        for claimed in (0, 20, size - 2, size + 2, size + 5000, 0xFFFFFFFF):
            data = webp[:4] + struct.pack("<I", claimed) + webp[8:]
            yield OddImage(f"RIFF of {claimed}", data, _plain(webp), must="read")
        for cut in range(1, len(webp) - webp.index(b"EXIF"), 9):
            yield OddImage(f"WEBP without its last {cut}", webp[:-cut], _plain(webp), must="read")
    for format in ("AVIF", "HEIF"):
        data = saved(picture(64, 64), format, exif=orientation(6))
        for place in range(12):
            damaged = data.replace(b"MM\0*", (b"MM\0*" + bytes(12))[place : place + 4], 1)
            yield OddImage(f"{format} EXIF {place}", damaged, _plain(data), must="read")
        for tail in (b"junk", bytes(9), struct.pack(">I", 9999) + b"free", struct.pack(">I", 3) + b"skip"):
            yield OddImage(f"{format} tail {tail!r}", data + tail, _plain(data), must="read")


def _cut() -> Iterator[OddImage]:
    noise = np.random.default_rng(0).integers(0, 256, (60, 240)).astype(np.uint16)
    bases = {
        "JPEG": saved(picture(160, 120), "JPEG"),
        "JPEG progressive": saved(picture(160, 120), "JPEG", progressive=True),
        "JPEG restarts": saved(picture(160, 120), "JPEG", restart_marker_rows=1),
        "JPEG grey": saved(picture(160, 120, "L"), "JPEG", optimize=True),
        "PNG": saved(picture(160, 120), "PNG"),
        "PNG interlaced": png(noise, 8, 2, interlaced=True),
        "GIF": saved(picture(mode="P"), "GIF"),
        "BMP": saved(picture(61, 40), "BMP"),
        "WEBP": saved(picture(), "WEBP"),
        "TIFF": saved(picture(), "TIFF", compression="tiff_lzw"),
        "AVIF": saved(picture(), "AVIF", speed=10),
        "HEIF": saved(picture(130, 130), "HEIF", tile_size=64),
    }  # fmt: skip
    for name, data in bases.items():
        shown = _plain(data)
        cuts = {1, 2, 3, 4, 8, 12, 16, 20, 40, *(len(data) * part // 20 for part in range(1, 20))}
        for cut in sorted(cuts):
            yield OddImage(f"cut {name} {cut}", data[:-cut], shown, "half, with an end", "cut")
            hole = data[:-cut] + bytes(cut)
            if name.startswith(("JPEG", "PNG", "HEIF")):  # the others' decoders take zeros for pixels
                yield OddImage(f"hole {name} {cut}", hole, shown, "half, with an end", "cut")
            if name.startswith("JPEG") and "progressive" not in name:
                yield OddImage(f"ended {name} {cut}", data[:-cut] + EOI, shown, "half, with an end", "cut")


def _plain(data: bytes) -> Pixels:
    """The reference decoder: Pillow's, or libheif's, displayed upright and converted as Pillow does."""
    if data[8:12] in (b"heic", b"heix", b"mif1"):
        image: Image.Image = pillow_heif.open_heif(io.BytesIO(data)).to_pillow()
    else:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert("RGB"))


def wrong(odd: OddImage) -> tuple[str, str]:
    """The outcome (`read` or an error code) and what is wrong with it; "" where nothing is."""
    try:
        reference = None if odd.kind else _plain(odd.data)
    except Exception:  # noqa: BLE001 - the reference raises whatever it likes
        reference = None
    try:
        content = read_image(odd.data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        refused = odd.must in ("refuse", "cut") or (not odd.must and reference is None)
        if odd.must == "cut" and error.code is not ErrorCode.TRUNCATED:
            return str(error.code), f"{error}"
        return str(error.code), "" if refused else f"{error}"
    pixels = np.asarray(content.rgb)
    if odd.must == "refuse":
        return "read", "it is read"
    if reference is not None and not np.array_equal(pixels, reference) and odd.must != "cut":
        return "read", "other pixels than the reference"
    if odd.pixels is not None and odd.must == "read" and not np.array_equal(pixels, odd.pixels):
        return "read", "other pixels than were written"
    if odd.pixels is not None and odd.must == "cut":
        differ = (pixels != odd.pixels).any(axis=2).mean() if pixels.shape == odd.pixels.shape else 1.0
        if differ > MAX_MISSING or (differ > MAX_UNNOTICED and "missing" not in content.note):
            return "read", f"{differ:.1%} of the pixels differ, and the note is {content.note!r}"
    return "read", ""


def main() -> None:
    warnings.simplefilter("ignore")
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    faults = {}
    for odd in odd_images():
        kinds.update([odd.kind] if odd.kind else [])
        outcome, fault = wrong(odd)
        outcomes[outcome] += 1
        if fault:
            faults[odd.name] = fault
    json.dump({"outcomes": outcomes, "kinds": kinds, "faults": faults}, sys.stdout)


if __name__ == "__main__":
    main()
