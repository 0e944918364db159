"""What each step between the bytes of a file and the engine takes, one after the other on the same image."""

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from fakescan.scan.provenance import provenance_columns
from fakevlm import provenance
from fakevlm.image_file import jpeg, samples
from fakevlm.image_file.orientation import turn_of, upright
from fakevlm.image_file.reader import _READERS
from fakevlm.image_file.signature import identify
from fakevlm.near_duplicates.phash import phash
from fakevlm.preprocess import ImageSpec, decode, fit

MAX_PIXELS = 10**8
Step = Callable[[], Any]


def steps(data: bytes, spec: ImageSpec) -> Iterator[tuple[str, Step]]:
    """Each step by name, as something that can be done again and again."""
    kind = identify(data)
    opened = _open(kind, data)
    opened.load()
    turned = upright(opened, turn_of(opened))
    rgb = samples.to_rgb(turned, samples.interpretation(opened))
    pixels = fit(rgb, spec)
    phash(pixels)  # the first one imports

    def header() -> Any:
        return _open(identify(data), data)

    def header_and_decode() -> Any:
        image = header()
        return jpeg.load(image, data) if kind == "JPEG" else image.load()

    yield "header and limits", header
    yield "header and decoding", header_and_decode
    yield "EXIF orientation", lambda: upright(opened, turn_of(opened))
    yield "to RGB", lambda: samples.to_rgb(turned, samples.interpretation(opened))
    yield "resize and crop", lambda: fit(rgb, spec)
    yield "all of decode()", lambda: decode(data, spec, max_pixels=MAX_PIXELS)
    yield "sha256", lambda: hashlib.sha256(data).hexdigest()
    yield "phash", lambda: phash(pixels)
    yield "provenance", lambda: provenance.read(data)


def _open(kind: str, data: bytes) -> Any:
    return _READERS[kind](io.BytesIO(data))


def shard_table(pixels: np.ndarray[Any, Any]) -> pa.Table:
    """A shard's pixels, uint8[rows, height, width, 3], and columns of its rows as the decode stage hands them on."""
    rows = len(pixels)
    names = [f"s3://bucket/images/{number:06d}.jpg" for number in range(rows)]
    found = provenance_columns([provenance.Provenance()] * rows)
    return pa.table(
        {
            "row_id": pa.array(np.arange(rows)),
            "uri": pa.array(names),
            "width": pa.array([900] * rows, pa.int32()),
            "phash": pa.array(["0" * 64] * rows),
            **found,
            "pixels": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
        }
    )


def serialised(table: pa.Table) -> pa.Buffer:
    """A table as Arrow's stream of bytes, which is what goes from process to process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def stored(image: Image.Image, quality: int = 90) -> bytes:
    """An image as JPEG."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()
