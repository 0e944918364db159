"""JPEG files: decoded in one call, repaired where Pillow refuses them, and the share of pixels that a file lacks."""

import functools
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageChops, ImageFile, JpegImagePlugin, features

from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.repair import MAX_MISSING, Repair, missing_note

_EOI = b"\xff\xd9"
_SOS, _DRI, _APP0, _APP1, _APP14, _COM = 0xDA, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NEXT_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_RESTARTS = tuple(bytes((0xFF, marker)) for marker in range(0xD0, 0xD8))
_MAX_SEGMENTS = 8192
"""Segments before the pixels, and again from the first scan on, of a file that is looked at closely.

Every bit of four components in scans of their own, each with its tables, makes 7168.
"""
_FILLERS = 4
_END_MISSING = "the end marker is missing; all pixels are there"
_MIN_RUN = 64
"""A run of one byte this long at the end of a file is a hole in it, not pixels."""


_WRITES_RGBX = features.check("libjpeg_turbo") is True
"""Whether the decoder can write four bytes a pixel, as Pillow keeps them. libjpeg of old cannot."""


class _Segment(NamedTuple):
    marker: int
    body: bytes


class _Scan(NamedTuple):
    components: tuple[int, ...]
    first: int
    last: int
    low_bit: int
    """Coefficients `first` to `last` are known down to this bit."""
    restarts: bool
    start: int
    end: int
    """Where its entropy-coded data is."""


class _Frame(NamedTuple):
    marker: int
    components: dict[int, tuple[int, int]]
    """Component number to its samples (across, down) in an MCU."""

    @property
    def mcu(self) -> tuple[int, int]:
        """(width, height) of the blocks that are coded one after the other, in pixels."""
        if len(self.components) == 1:
            return 8, 8
        return 8 * max(x for x, _ in self.components.values()), 8 * max(y for _, y in self.components.values())


class _Layout(NamedTuple):
    """What the file consists of, without metadata."""

    head: list[_Segment]
    body: bytes
    """From the first scan's marker on."""
    info: dict[str, bytes | str]

    @property
    def data(self) -> bytes:
        return b"\xff\xd8" + b"".join(map(_written, self.head)) + self.body


def prepare(image: ImageFile.ImageFile, size: int) -> None:
    """Has Pillow decode an opened file of `size` bytes with less copying, to the same pixels.

    Pillow hands a file on in pieces of 64 KB, and spreads each row from three bytes a pixel to the four that it keeps.
    """
    image.decodermaxblock = max(size, 1)
    if _WRITES_RGBX and _is_plain(image):
        image.tile = [image.tile[0]._replace(args=("RGBX", ""))]


def load(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """The pixels of an opened file, `data`: in one call where that gives Pillow's, by Pillow itself elsewhere."""
    pixels = decoded(image, data)
    if pixels is None:
        prepare(image, len(data))
        image.load()
        pixels = image
    return pixels


def decoded(image: ImageFile.ImageFile, data: bytes) -> Image.Image | None:
    """The pixels of an opened file, `data`, that is in colour and sound: Pillow's, in four fifths of its time.

    libjpeg-turbo by itself (simplejpeg) decodes in one call, into memory that Pillow then uses as it is. None where
    Pillow has to decode: whatever that library only warns of, or sees otherwise than Pillow's header does, and all
    files where it gives other pixels than the installed Pillow, or that are to be decoded at a reduced size.
    """
    if image.decoderconfig or not _is_plain(image) or not _is_pillows():
        return None
    return _in_one_call(data, *image.size)


def _is_plain(image: ImageFile.ImageFile) -> bool:
    """Whether it is stored in colours that libjpeg turns into RGB, and not yet decoded."""
    return len(image.tile) == 1 and image.tile[0].args == ("RGB", "")


def _in_one_call(data: bytes, width: int, height: int) -> Image.Image | None:
    """A sound file of this size, in mode RGB."""
    import pyarrow as pa

    memory = np.empty(width * height * 4, np.uint8)
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGBX", buffer=memory)
    except ValueError:
        return None
    if pixels.shape != (height, width, 4):
        return None
    samples = pa.UInt8Array.from_buffers(pa.uint8(), memory.size, [None, pa.py_buffer(memory)])
    return Image.fromarrow(pa.FixedSizeListArray.from_arrays(samples, 4), "RGB", (width, height))


@functools.cache
def _is_pillows() -> bool:
    """Whether it gives the installed Pillow's pixels: those of some noise, as encoders usually write it.

    Pillow may be built with another libjpeg, whose pixels differ a little.
    """
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8))
    for subsampling, progressive in ((0, False), (1, False), (2, False), (2, True)):
        file = io.BytesIO()
        noise.save(file, "JPEG", quality=85, subsampling=subsampling, progressive=progressive)
        found = _in_one_call(file.getvalue(), *noise.size)
        if found is None or not np.array_equal(np.asarray(found), np.asarray(Image.open(file))):
            return False
    return True


def reduce(image: ImageFile.ImageFile, enough: tuple[int, int]) -> tuple[float, float] | None:
    """Has an opened file decoded at a half, a quarter or an eighth of its size, not below `enough`, across and down.

    Returns the width and height that the whole image has then, which are not whole; None where it stays as it is.
    """
    width, height = image.size
    if min(width // enough[0], height // enough[1]) < 2:
        return None
    drafted = image.draft(None, enough)
    return None if drafted is None else drafted[1][2:]


def repairs(data: bytes, max_pixels: int) -> Iterator[Repair]:
    """The file without its metadata; or, where it has no end marker, without metadata and with that."""
    layout = _layout(data)
    scans = layout and list(_scans(layout))
    if not layout or not scans:
        return
    if scans[-1].end < len(layout.body):
        yield Repair(layout.data, info=layout.info)
    if _EOI not in layout.body[scans[-1].end :]:
        layout, missing = _without_end(layout)
        yield Repair(layout.data + _EOI, _END_MISSING if not missing else missing_note("JPEG", missing), layout.info)


def note(data: bytes, last_pixel: object, progressive: bool) -> str:
    """The note for a JPEG that Pillow has read; "" for a sound one. Raises ImageError for one that lacks too much.

    Pillow takes an end marker wherever it comes, and none where the file goes on with zeros. A closer look is worth its
    time only without the marker, where the last pixel is the grey of missing data, or for scans that are missing.
    """
    if data.endswith(_EOI) and not _is_grey(last_pixel) and not progressive:
        return ""
    layout = _layout(data)
    frame, scans = layout and _frame(layout), layout and list(_scans(layout))
    if not layout or not frame or not scans:
        return ""
    if scans[-1].end == len(layout.body):
        missing = _without_end(layout)[1]
        return missing_note("JPEG", missing) if missing else _END_MISSING
    if _is_grey(last_pixel) and (missing := _missing(layout._replace(body=layout.body[: scans[-1].end]), frame)):
        return missing_note("JPEG", missing)
    return "" if not progressive or _all_scans_begun(frame, scans) else "the scans with the finer details are missing"


def _without_end(layout: _Layout) -> tuple[_Layout, float]:
    """The file up to where its pixels end, and the share of them that it lacks. It has no end marker."""
    scans, frame = list(_scans(layout)), _frame(layout)
    if frame is None or not _all_scans_begun(frame, scans):
        raise ImageError(ErrorCode.TRUNCATED, "JPEG: the file ends before its last scans, the finer details")
    body = layout.body[: scans[-1].end].rstrip(b"\xff")
    solid = _without_hole(body)
    if solid != body and _fits(layout._replace(body=body), frame):
        return layout._replace(body=body), 0.0
    layout = layout._replace(body=solid)
    return layout, _missing(layout, frame)


def _is_grey(pixel: object) -> bool:
    """Whether all values of a pixel are what the decoder puts where data is missing."""
    return all(value in (127, 128) for value in (pixel if isinstance(pixel, tuple) else (pixel,)))


def _written(segment: _Segment) -> bytes:
    return bytes((0xFF, segment.marker)) + (len(segment.body) + 2).to_bytes(2) + segment.body


def _layout(data: bytes) -> _Layout | None:
    """None where the segments before the first scan cannot be followed."""
    head: list[_Segment] = []
    info: dict[str, bytes | str] = {}
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _NEXT_SEGMENT.search(data, at)
        if found is None:
            return None
        at = found.end() - 1
        marker = data[at]
        if marker == _SOS:
            return _Layout(head, data[found.start() :], info)
        size = int.from_bytes(data[at + 1 : at + 3])
        segment = _Segment(marker, data[at + 3 : at + 1 + max(2, size)])
        at += 1 + max(2, size)
        if marker == 0xD9 or at > len(data):
            return None
        if marker == _APP1:
            _add_metadata(info, segment.body)
        elif not (0xE0 <= marker <= 0xEF or marker == _COM) or _bears_on_colour(segment):
            head.append(segment)
    return None


def _bears_on_colour(segment: _Segment) -> bool:
    """JFIF and Adobe segments tell the decoder how colours are coded; shorter ones it ignores."""
    if segment.marker == _APP0:
        return segment.body[:5] == b"JFIF\0" and len(segment.body) >= 14
    return segment.marker == _APP14 and segment.body[:5] == b"Adobe" and len(segment.body) >= 12


def _add_metadata(info: dict[str, bytes | str], body: bytes) -> None:
    """EXIF and XMP under Pillow's names."""
    if body.startswith(b"Exif\0\0"):
        before = info.get("exif")
        info["exif"] = before + body[6:] if isinstance(before, bytes) else body
    elif body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        info["xmp"] = body.partition(b"\0")[2]


def _without_hole(body: bytes) -> bytes:
    """Without what a half-written file has at its end: zeros or other padding."""
    end = body.rstrip(b"\0")
    if end.endswith(b"\xff") and len(end) < len(body):
        end += b"\0"  # an escaped 0xFF is data
    run = len(end) - len(end.rstrip(end[-1:]))
    return end[:-run] if run >= _MIN_RUN else end


def _scans(layout: _Layout) -> Iterator[_Scan]:
    restarts = any(any(segment.body) for segment in layout.head if segment.marker == _DRI)
    body, at, count = layout.body, 0, 0
    while found := _NEXT_MARKER.search(body, at):
        count += 1
        if count > _MAX_SEGMENTS:
            raise ImageError(ErrorCode.TRUNCATED, f"JPEG: more than {_MAX_SEGMENTS} segments")
        at = found.end()
        marker, size = body[at - 1], int.from_bytes(body[at : at + 2])
        if marker == _EOI[1]:
            return
        segment = body[at + 2 : at + size]
        at += size
        if marker == _DRI:
            restarts = any(segment)
        elif marker == _SOS and len(segment) >= 4 and len(segment) == 4 + 2 * segment[0]:
            components = tuple(segment[1 : 1 + 2 * segment[0] : 2])
            after = _NEXT_MARKER.search(body, at)
            end = after.start() if after else len(body)
            yield _Scan(components, segment[-3], segment[-2], segment[-1] & 15, restarts, at, end)


def _fits(layout: _Layout, frame: _Frame) -> bool:
    """Whether the pixel data ends exactly where the file does, so that what looks like a hole is none."""
    return not _missing(layout, frame) and _missing(layout._replace(body=layout.body[:-3]), frame) > 0


def _missing(layout: _Layout, frame: _Frame) -> float:
    """The share of the pixels whose data is not complete in a JPEG without its end marker; too large shares are rough.

    A decoder does not tell how far it came. So the file is decoded as it is and with various noise behind its end:
    where pixels depend on that, their own data is missing.
    """
    last = list(_scans(layout))[-1]
    restart = None
    if last.restarts:
        place, number = max((layout.body.rfind(mark, last.start), mark[1]) for mark in _RESTARTS)
        restart = (number + 1) % 8 if place >= 0 else 0
    as_is = _decode(layout.data + _EOI)
    missing = 0.0
    for seed in range(_FILLERS):
        noisy = _decode(layout.data + _noise(seed, restart) + _EOI)
        missing = max(missing, 1 - _first_difference(as_is, noisy, frame))
        if missing > MAX_MISSING:
            break
    return missing


def _frame(layout: _Layout) -> _Frame | None:
    for marker, body in layout.head:
        if marker in _SOF and len(body) >= 6 and len(body) == 6 + 3 * body[5]:
            components = {body[at]: (body[at + 1] >> 4, body[at + 1] & 15) for at in range(6, len(body), 3)}
            if components and all(1 <= x <= 4 and 1 <= y <= 4 for x, y in components.values()):
                return _Frame(marker, components)
    return None


def _all_scans_begun(frame: _Frame, scans: list[_Scan]) -> bool:
    """Whether the scans up to here bring every coefficient of every component to its last bit."""
    every = (1 << 64) - 1
    known = dict.fromkeys(frame.components, 0)
    for scan in scans:
        bits = every if frame.marker not in _PROGRESSIVE else (1 << scan.last + 1) - (1 << scan.first)
        for component in scan.components if scan.low_bit == 0 or frame.marker not in _PROGRESSIVE else ():
            known[component] = known.get(component, 0) | bits
    return all(bits & every == every for bits in known.values())


def _noise(seed: int, restart: int | None) -> bytes:
    """Bytes that decode to some picture; with restart markers from number `restart` on."""
    random = np.random.default_rng(seed)
    if restart is None:
        return random.integers(0, 255, 4096, np.uint8).tobytes()
    pieces = [random.integers(0, 255, 256, np.uint8).tobytes() for _ in range(16)]
    return b"".join(piece + bytes((0xFF, 0xD0 + (restart + at) % 8)) for at, piece in enumerate(pieces))


def _decode(data: bytes) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    image.load()
    return image


def _first_difference(one: Image.Image, other: Image.Image, frame: _Frame) -> float:
    """The share of the pixels before the first MCU in which two images differ."""
    width, height = one.size
    box = ImageChops.difference(one, other).getbbox()
    if box is None:
        return 1.0
    across, down = frame.mcu
    starts = np.arange(0, width, across)
    for top in _differing_rows(one, other, box[1] // down * down, (across, down)):
        strip = (0, top, width, min(top + down, height))
        differs = np.asarray(one.crop(strip)) != np.asarray(other.crop(strip))
        differs = differs.reshape(strip[3] - top, width, -1).any(axis=2)
        shares = np.add.reduceat(differs.mean(axis=0), starts) / np.diff([*starts, width])
        # Colours are blended across the border of two MCUs, so a pixel or two differ in the one before.
        where = np.flatnonzero(shares > 0.3)
        if where.size:
            return float(top * width + starts[where[0]] * (strip[3] - top)) / (width * height)
    return 1.0


def _differing_rows(one: Image.Image, other: Image.Image, top: int, mcu: tuple[int, int]) -> list[int]:
    """The rows of MCUs, from `top` on, in which one or more MCUs differ enough for a closer look."""
    difference = np.asarray(ImageChops.difference(one, other))[top:]
    differs = difference.reshape(*difference.shape[:2], -1).max(axis=2) > 0
    columns, rows = (np.arange(0, length, step) for length, step in zip(differs.shape[::-1], mcu, strict=True))
    counts = np.add.reduceat(np.add.reduceat(differs, rows, axis=0, dtype=np.int32), columns, axis=1)
    areas = np.diff([*rows, differs.shape[0]])[:, None] * np.diff([*columns, differs.shape[1]])
    return [int(row) + top for row in rows[(counts > 0.29 * areas).any(axis=1)]]
