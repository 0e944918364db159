"""Decoding against the reference: the PIL backend of transformers' CLIP image processor, pixel by pixel."""

import contextlib
import io
import math
import random
import resource
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from fakevlm import preprocess
from fakevlm.errors import ErrorCode, ImageError, UserError
from fakevlm.preprocess import ImageSpec, decode, fit

pytestmark = pytest.mark.unit

LLAVA = ImageSpec(shortest_edge=336, crop=(336, 336))
SMALL = ImageSpec(shortest_edge=84, crop=(84, 84))
MAX_PIXELS = 100_000_000
Array = npt.NDArray[Any]


def picture(width: int = 100, height: int = 75, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth colours under noise, so that both the filter's shape and its rounding show."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 4), dtype=np.uint8), "RGBA").resize((width, height))
    noise = random.integers(-40, 41, (height, width, 4))
    image = Image.fromarray((np.asarray(coarse).astype(int) + noise).clip(0, 255).astype(np.uint8), "RGBA")
    return image.convert(mode)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def displayed(data: bytes) -> Image.Image:
    """What a user would hand to the processor: turned upright, RGB; of 16-bit grey the upper byte."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def reference(image: Image.Image, spec: ImageSpec) -> Array:
    """uint8[height, width, 3] that transformers makes before rescaling and normalising."""
    from transformers import CLIPImageProcessorPil

    size: dict[str, int] = {"shortest_edge": 1}
    if spec.shortest_edge is not None:
        size = {"shortest_edge": spec.shortest_edge}
    elif spec.resize is not None:
        size = {"height": spec.resize[0], "width": spec.resize[1]}
    processor = CLIPImageProcessorPil(
        do_resize=spec.shortest_edge is not None or spec.resize is not None,
        size=size,
        do_center_crop=spec.crop is not None,
        crop_size={"height": spec.height, "width": spec.width},
        resample=spec.resample,
        do_rescale=False,
        do_normalize=False,
    )
    pixels: Array = np.asarray(processor(image)["pixel_values"][0]).transpose(1, 2, 0)
    return pixels


def check(data: bytes, spec: ImageSpec = LLAVA, format: str | None = None) -> None:
    decoded = decode(data, spec, max_pixels=MAX_PIXELS)
    image = displayed(data)
    assert (decoded.width, decoded.height) == image.size
    assert format is None or decoded.format == format
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (spec.height, spec.width, 3)
    np.testing.assert_array_equal(decoded.pixels, reference(image, spec))


def png_16_bit(colour_type: int, channels: int, width: int = 40, height: int = 31) -> bytes:
    """A PNG with 16 bits a sample, which Pillow reads but writes only in grey."""
    samples = np.random.default_rng(3).integers(0, 65536, (height, width * channels)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def grey_16_bit() -> Image.Image:
    return Image.fromarray(np.random.default_rng(4).integers(0, 65536, (45, 61), dtype=np.uint16))


def palette(**info: Any) -> Image.Image:
    image = picture(mode="RGB").quantize(64)
    image.info.update(info)
    return image


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg": (lambda: saved(picture(), "JPEG", quality=90), "JPEG"),
    "jpeg progressive": (lambda: saved(picture(), "JPEG", progressive=True), "JPEG"),
    "jpeg grey": (lambda: saved(picture(mode="L"), "JPEG"), "JPEG"),
    "jpeg cmyk": (lambda: saved(picture(mode="CMYK"), "JPEG", quality=95), "JPEG"),
    "jpeg 4:4:4": (lambda: saved(picture(), "JPEG", subsampling=0), "JPEG"),
    "mpo": (lambda: saved(picture(), "MPO", save_all=True, append_images=[picture(seed=1)]), "JPEG"),
    "png rgb": (lambda: saved(picture(), "PNG"), "PNG"),
    "png rgba": (lambda: saved(picture(mode="RGBA"), "PNG"), "PNG"),
    "png grey alpha": (lambda: saved(picture(mode="LA"), "PNG"), "PNG"),
    "png grey": (lambda: saved(picture(mode="L"), "PNG"), "PNG"),
    "png 1 bit": (lambda: saved(picture(mode="1"), "PNG"), "PNG"),
    "png palette": (lambda: saved(palette(), "PNG"), "PNG"),
    "png palette, one transparent": (lambda: saved(palette(), "PNG", transparency=3), "PNG"),
    "png palette, alpha table": (lambda: saved(palette(), "PNG", transparency=bytes(range(0, 256, 4))), "PNG"),
    "png rgb, transparent colour": (lambda: saved(picture(), "PNG", transparency=(1, 2, 3)), "PNG"),
    "png 16-bit grey": (lambda: saved(grey_16_bit(), "PNG"), "PNG"),
    "png 16-bit grey alpha": (lambda: png_16_bit(4, 2), "PNG"),
    "png 16-bit rgb": (lambda: png_16_bit(2, 3), "PNG"),
    "png 16-bit rgba": (lambda: png_16_bit(6, 4), "PNG"),
    "png animated": (lambda: saved(picture(), "PNG", save_all=True, append_images=[picture(seed=1)]), "PNG"),
    "webp": (lambda: saved(picture(), "WEBP", quality=80), "WEBP"),
    "webp lossless alpha": (lambda: saved(picture(mode="RGBA"), "WEBP", lossless=True), "WEBP"),
    "webp animated": (lambda: saved(picture(), "WEBP", save_all=True, append_images=[picture(seed=1)]), "WEBP"),
    "gif": (lambda: saved(palette(), "GIF"), "GIF"),
    "gif transparent": (lambda: saved(palette(), "GIF", transparency=5), "GIF"),
    "gif animated": (lambda: saved(palette(), "GIF", save_all=True, append_images=[picture(seed=1)]), "GIF"),
    "bmp": (lambda: saved(picture(), "BMP"), "BMP"),
    "bmp palette": (lambda: saved(palette(), "BMP"), "BMP"),
    "bmp 1 bit": (lambda: saved(picture(mode="1"), "BMP"), "BMP"),
    "tiff": (lambda: saved(picture(), "TIFF"), "TIFF"),
    "tiff lzw": (lambda: saved(picture(), "TIFF", compression="tiff_lzw"), "TIFF"),
    "tiff jpeg": (lambda: saved(picture(), "TIFF", compression="jpeg"), "TIFF"),
    "tiff fax": (lambda: saved(picture(mode="1"), "TIFF", compression="group4"), "TIFF"),
    "tiff cmyk": (lambda: saved(picture(mode="CMYK"), "TIFF"), "TIFF"),
    "tiff lab": (lambda: saved(picture().convert("LAB"), "TIFF"), "TIFF"),
    "tiff ycbcr": (lambda: saved(picture(mode="YCbCr"), "TIFF"), "TIFF"),
    "tiff palette": (lambda: saved(palette(), "TIFF"), "TIFF"),
    "tiff 16-bit grey": (lambda: saved(grey_16_bit(), "TIFF"), "TIFF"),
    "tiff many pages": (lambda: saved(picture(), "TIFF", save_all=True, append_images=[picture(seed=1)]), "TIFF"),
    "avif": (lambda: saved(picture(), "AVIF"), "AVIF"),
    "avif alpha": (lambda: saved(picture(mode="RGBA"), "AVIF"), "AVIF"),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # of the reference
@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_reference_pixels(name: str) -> None:
    make, format = FILES[name]
    check(make(), format=format)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation(format: str, orientation: int) -> None:
    data = saved(picture(61, 40), format, exif=oriented(orientation))
    check(data, SMALL)
    assert decode(data, SMALL, max_pixels=MAX_PIXELS).width == (61 if orientation < 5 else 40)


def test_exif_orientation_of_palette_and_16_bit() -> None:
    check(saved(palette(), "PNG", exif=oriented(6)))
    check(saved(grey_16_bit(), "PNG", exif=oriented(8)))
    check(saved(picture(mode="CMYK"), "JPEG", exif=oriented(5)))


def test_xmp_orientation() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    check(saved(picture(61, 40), "JPEG", xmp=xmp), SMALL)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # of the reference
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff"])
def test_broken_metadata_is_no_reason_to_fail(exif: bytes) -> None:
    data = saved(picture(), "JPEG", exif=exif)
    decoded = decode(data, LLAVA, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(decoded.pixels, reference(Image.open(io.BytesIO(data)).convert("RGB"), LLAVA))


@pytest.mark.parametrize(
    "size",
    [
        *[(1, 1), (1, 2), (2, 1), (1, 57), (57, 1), (3, 41), (84, 84), (83, 85), (336, 336), (335, 337), (337, 335)],
        *[(500, 333), (333, 777), (1024, 13), (13, 1024), (1001, 999)],
    ],
)
def test_odd_sizes(size: tuple[int, int]) -> None:
    check(saved(picture(*size), "PNG"))


SPECS = {
    "llava": LLAVA,
    "tiny": SMALL,
    "bilinear": ImageSpec(shortest_edge=50, crop=(50, 50), resample=2),
    "odd crop": ImageSpec(shortest_edge=61, crop=(60, 59)),
    "square, no crop": ImageSpec(resize=(70, 71)),
    "square and crop": ImageSpec(resize=(80, 90), crop=(64, 64)),
    "padded": ImageSpec(shortest_edge=30, crop=(47, 46)),
    "padded one way": ImageSpec(resize=(40, 80), crop=(64, 64)),
    "no resize": ImageSpec(crop=(64, 65)),
}


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), seed=st.integers(0, 9))
def test_any_size_under_any_spec(name: str, width: int, height: int, seed: int) -> None:
    image = picture(width, height, seed=seed)
    np.testing.assert_array_equal(fit(image, SPECS[name]), reference(image, SPECS[name]))


@pytest.mark.parametrize("name", ["llava", "bilinear", "odd crop", "padded", "square and crop"])
@pytest.mark.parametrize("size", [(1, 40), (40, 1), (7, 300), (300, 7), (2, 901), (90, 400), (400, 90), (200, 201)])
def test_computing_only_what_the_crop_keeps_changes_no_pixel(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocess, "MAX_RESIZED_PIXELS", 0)
    image = picture(*size)
    np.testing.assert_array_equal(fit(image, SPECS[name]), reference(image, SPECS[name]))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 30_001), (30_001, 3)])
def test_very_long_images_are_exact(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ImageSpec(shortest_edge=12, crop=(12, 12))
    image = picture(*size)
    expected = reference(image, spec)
    monkeypatch.setattr(preprocess, "MAX_RESIZED_PIXELS", 10_000)
    np.testing.assert_array_equal(fit(image, spec), expected)


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (1, 5_000_000), (5_000_000, 1), (90_000, 100)])
def test_very_long_images_take_little_memory(size: tuple[int, int]) -> None:
    """Resized in full, a 1 x 20,000 image would have 6.7 million rows of 336 pixels, 9 GB."""
    image = Image.new("RGB", size, (10, 200, 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pixels = fit(image, LLAVA)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert pixels.shape == (336, 336, 3)
    assert (pixels == (10, 200, 30)).all()


REFUSED: dict[str, tuple[bytes, ErrorCode]] = {
    "empty": (b"", ErrorCode.EMPTY),
    "text": (b"hello, world", ErrorCode.NOT_AN_IMAGE),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", ErrorCode.NOT_AN_IMAGE),
    "json": (b'{"image": 1}', ErrorCode.NOT_AN_IMAGE),
    "zeros": (bytes(4096), ErrorCode.NOT_AN_IMAGE),
    "zip": (b"PK\x03\x04" + bytes(100), ErrorCode.NOT_AN_IMAGE),
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(100), ErrorCode.NOT_AN_IMAGE),
    "riff audio": (b"RIFF\0\0\0\0WAVEfmt ", ErrorCode.NOT_AN_IMAGE),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', ErrorCode.UNSUPPORTED_FORMAT),
    "bare svg": (b"\n<svg width='1'/>", ErrorCode.UNSUPPORTED_FORMAT),
    "pdf": (b"%PDF-1.7\n", ErrorCode.UNSUPPORTED_FORMAT),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ErrorCode.UNSUPPORTED_FORMAT),
    "heif": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ErrorCode.UNSUPPORTED_FORMAT),
    "jpeg 2000": (saved(picture(), "JPEG2000"), ErrorCode.UNSUPPORTED_FORMAT),
    "jpeg xl": (b"\xff\x0a" + bytes(50), ErrorCode.UNSUPPORTED_FORMAT),
    "psd": (b"8BPS\0\x01" + bytes(50), ErrorCode.UNSUPPORTED_FORMAT),
    "ico": (saved(picture(32, 32), "ICO"), ErrorCode.UNSUPPORTED_FORMAT),
    "ppm": (saved(picture(), "PPM"), ErrorCode.UNSUPPORTED_FORMAT),
    "float tiff": (saved(picture(mode="L").convert("F"), "TIFF"), ErrorCode.UNSUPPORTED_FORMAT),
    "32-bit tiff": (saved(picture(mode="L").convert("I"), "TIFF"), ErrorCode.UNSUPPORTED_FORMAT),
    "jpeg magic only": (b"\xff\xd8\xff\xe0", ErrorCode.TRUNCATED),
    "png magic only": (b"\x89PNG\r\n\x1a\n", ErrorCode.TRUNCATED),
    "gif magic only": (b"GIF89a", ErrorCode.TRUNCATED),
    "webp magic only": (b"RIFF\0\0\0\0WEBPVP8 ", ErrorCode.TRUNCATED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_gets_its_code(name: str) -> None:
    data, code = REFUSED[name]
    with pytest.raises(ImageError) as caught:
        decode(data, LLAVA, max_pixels=MAX_PIXELS)
    assert caught.value.code is code
    assert "\n" not in caught.value.message


CUT = ["jpeg", "jpeg progressive", "png rgb", "webp", "gif", "bmp", "tiff lzw", "avif"]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_cut_file_is_truncated_never_half_an_image(name: str, kept: float) -> None:
    data = FILES[name][0]()
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * kept)], LLAVA, max_pixels=MAX_PIXELS)
    assert caught.value.code is ErrorCode.TRUNCATED


def claim(name: str, side: int) -> bytes:
    """A small file whose header says `side` x `side` pixels."""
    data = bytearray(FILES[name][0]())
    if name == "png rgb":
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif name == "jpeg":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", side, side)
    elif name == "gif":
        data[6:10] = struct.pack("<HH", side, side)
    elif name == "bmp":
        data[18:26] = struct.pack("<ii", side, side)
    elif name == "webp":
        start = data.index(b"\x9d\x01\x2a") + 3
        data[start : start + 4] = struct.pack("<HH", side, side)
    elif name == "webp lossless alpha":
        start = data.index(b"VP8L") + 9
        data[start : start + 4] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    elif name == "webp animated":
        start = data.index(b"VP8X") + 12
        data[start : start + 6] = struct.pack("<I", side - 1)[:3] * 2
    elif name == "tiff":
        directory = struct.unpack("<I", data[4:8])[0]
        for entry in range(directory + 2, len(data) - 12, 12):
            if struct.unpack("<H", data[entry : entry + 2])[0] in (256, 257):
                data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize(
    "name", ["jpeg", "png rgb", "gif", "bmp", "webp", "webp lossless alpha", "webp animated", "tiff"]
)
def test_a_bomb_is_refused_by_its_header_before_memory_is_allocated(name: str) -> None:
    data = claim(name, 16_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError) as caught:
        decode(data, LLAVA, max_pixels=50_000_000)
    assert caught.value.code is ErrorCode.TOO_MANY_PIXELS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


@pytest.mark.parametrize("name", ["jpeg", "png rgb", "webp", "gif", "bmp", "tiff", "avif"])
def test_the_limit_is_the_last_allowed_count(name: str) -> None:
    data = FILES[name][0]()
    assert decode(data, LLAVA, max_pixels=7_500).pixels.shape == (336, 336, 3)
    with pytest.raises(ImageError) as caught:
        decode(data, LLAVA, max_pixels=7_499)
    assert caught.value.code is ErrorCode.TOO_MANY_PIXELS


def test_pillows_global_settings_neither_matter_nor_change(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [saved(picture(600, 400), format) for format in ("JPEG", "PNG", "BMP", "AVIF")]
    files += [saved(picture(600, 400).quantize(64), "GIF"), FILES["png palette, alpha table"][0]()]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 336 * 336)
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in files:
            decode(data, LLAVA, max_pixels=MAX_PIXELS)
    assert Image.MAX_IMAGE_PIXELS == 336 * 336
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert warnings.filters == filters


def test_threads_decode_side_by_side() -> None:
    files = [make() for make, _ in FILES.values()]
    alone = [decode(data, SMALL, max_pixels=MAX_PIXELS).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(data, SMALL, max_pixels=MAX_PIXELS).pixels, files * 4))
    for number, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[number % len(files)])


@pytest.mark.parametrize("name", FILES)
def test_damage_is_never_anything_but_an_image_error(name: str) -> None:
    whole = FILES[name][0]()
    dice = random.Random(name)
    for _ in range(120):
        data = bytearray(whole[: dice.randrange(len(whole))] if dice.random() < 0.2 else whole)
        for _ in range(dice.choice((1, 2, 8))):
            if data:
                place = dice.randrange(len(data) if dice.random() < 0.5 else min(len(data), 100))
                data[place] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with contextlib.suppress(ImageError):
                decode(bytes(data), SMALL, max_pixels=1_000_000)


@given(st.binary(max_size=200), st.sampled_from([data[:16] for data, _ in REFUSED.values()]))
def test_no_bytes_raise_anything_else(tail: bytes, magic: bytes) -> None:
    for data in (tail, magic + tail):
        with contextlib.suppress(ImageError):
            decode(data, SMALL, max_pixels=1_000_000)


PUBLISHED = {
    "crop_size": {"height": 336, "width": 336},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "LlavaProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 336},
}


def test_the_published_settings() -> None:
    spec = ImageSpec.from_preprocessor_config(PUBLISHED)
    assert (spec.height, spec.width) == (336, 336)
    assert (spec.shortest_edge, spec.resize, spec.crop, spec.resample) == (336, None, (336, 336), 3)
    assert spec.image_mean == (0.48145466, 0.4578275, 0.40821073)
    assert ImageSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"shortest_edge": 224, "crop": (224, 224)}),
        ({"size": 336, "crop_size": 336}, {"shortest_edge": 336, "crop": (336, 336)}),
        ({"feature_extractor_type": "CLIPFeatureExtractor", "size": 30}, {"shortest_edge": 30, "crop": (224, 224)}),
        ({"size": {"height": 9, "width": 8}, "do_center_crop": False}, {"resize": (9, 8), "crop": None}),
        ({"do_resize": False}, {"shortest_edge": None, "resize": None, "crop": (224, 224)}),
        ({"resample": 2}, {"resample": 2}),
        ({"do_rescale": False, "do_normalize": False}, {"rescale_factor": None, "image_mean": None, "image_std": None}),
    ],
)
def test_older_and_partial_settings(config: dict[str, Any], expected: dict[str, Any]) -> None:
    spec = ImageSpec.from_preprocessor_config(config)
    assert {name: getattr(spec, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"image_processor_type": "SiglipImageProcessor"}, "SiglipImageProcessor"),
        ({"do_center_crop": False}, "centre crop"),
        ({"size": {"longest_edge": 336}}, "longest_edge"),
        ({"size": {"height": 336}}, "width"),
        ({"size": None}, "settings"),
        ({"resample": 1}, "resample"),
        ({"do_pad": True}, "do_pad"),
        ({"crop_size": {"height": 0, "width": 3}}, "at least 1"),
        ({"image_mean": [0.5]}, "image_mean"),
    ],
)
def test_settings_that_cannot_be_reproduced_are_refused(config: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named) as caught:
        ImageSpec.from_preprocessor_config(config)
    assert "\n" not in str(caught.value)


def test_the_model_side_starts_without_torch() -> None:
    modules = "errors, fakevlm.prompt, fakevlm.verdict, fakevlm.preprocess, fakevlm.checkpoint.self_test"
    code = f"import sys, fakevlm.{modules}, fakevlm.data.collate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "ray", "vllm"} & set(done.stdout.split())


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1000, 300), (333, 1999), (84, 84), (50, 40), (31, 900)])
def test_what_is_said_to_be_seen_is_what_is_seen(size: tuple[int, int]) -> None:
    """What lies outside changes no pixel of the model's input, and what lies within reaches to its edges."""
    spec = ImageSpec(shortest_edge=84, crop=(84, 84))
    width, height = size
    seen = spec.seen(height, width)
    assert seen.share == pytest.approx(min(size) / max(size), abs=0.02)
    assert abs(seen.left - (width - seen.left - seen.width)) <= 2, "it is the middle"
    assert abs(seen.top - (height - seen.top - seen.height)) <= 2
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    margin = math.ceil(3 * min(size) / 84) + 2  # of the filter
    inside = np.zeros((height, width), dtype=bool)
    inside[
        max(0, seen.top - margin) : seen.top + seen.height + margin,
        max(0, seen.left - margin) : seen.left + seen.width + margin,
    ] = True
    other = np.where(inside[:, :, None], pixels, 255 - pixels)
    assert (fit(Image.fromarray(other), spec) == fit(Image.fromarray(pixels), spec)).all()
    edges = pixels.copy()
    edges[seen.top : seen.top + margin, seen.left : seen.left + margin] = 0
    last = (seen.top + seen.height, seen.left + seen.width)
    edges[last[0] - margin : last[0], last[1] - margin : last[1]] = 0
    changed = np.argwhere((fit(Image.fromarray(edges), spec) != fit(Image.fromarray(pixels), spec)).any(axis=2))
    assert (changed.min(axis=0) <= 1).all()
    assert (changed.max(axis=0) >= 82).all()


def test_without_a_crop_everything_is_seen() -> None:
    assert ImageSpec(resize=(84, 84)).seen(300, 900).model_dump() == {
        "left": 0, "top": 0, "width": 900, "height": 300, "share": 1.0
    }  # fmt: skip
