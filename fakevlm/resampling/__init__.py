"""Resizes and crops exactly as Pillow does, by compiled code in processes that have many images to do.

prepare()  # once, where hundreds of images are to come
pixels = resized_crop(image, (168, 112), (28, 0, 140, 112), 3)  # None: Pillow has to do it

The pixels are Pillow's, to the last bit, in a third of its time: Pillow's loops take one sample after the other, these
are compiled (Numba) for the vector instructions of the processor at hand. That costs a process half a second, the first
one on a machine two, and 120 MB, of which 80 are shared between processes; so it is not done by itself.
"""

import logging
import math
import threading
from types import ModuleType

import numpy as np
import numpy.typing as npt
from PIL import Image

logger = logging.getLogger(__name__)

MANY_IMAGES = 256
"""Images after which a process has lost to Pillow about what compiled code costs it."""
_STRIP_BYTES = 8 << 20
"""Of an image that Pillow does not keep in one piece, at once; pieces are of 16 MB."""
_BYTES_PER_PIXEL = 4

_lock = threading.Lock()
_images = 0
_is_tried = False
_compiled: ModuleType | None = None


def count(images: int) -> None:
    """Tells that this process has done so many more images, and prepares it for many once there are `MANY_IMAGES`."""
    global _images
    _images += images
    if _images >= MANY_IMAGES:
        prepare()


def prepare() -> bool:
    """Has this process resize by compiled code from now on; whether it does.

    Pillow goes on where a trial gives other pixels than the installed Pillow, as compilers for other processors than
    x86-64 may round the filter's weights differently, and where there is no place for what is compiled: beside this
    module, in the user's cache folder, or in NUMBA_CACHE_DIR.
    """
    global _compiled, _is_tried
    with _lock:
        if not _is_tried:
            _is_tried = True
            _compiled = _load()
        return _compiled is not None


def _load() -> ModuleType | None:
    try:
        from fakevlm.resampling import compiled

        reason = None if _is_pillows(compiled) else "compiled code gives other pixels than Pillow here"
    except (ImportError, OSError, RuntimeError) as error:  # Numba's answer where it can keep nothing
        reason = str(error)
    if reason is not None:
        logger.warning("images are resized more slowly, to the same pixels: %s", reason)
        return None
    return compiled


def _is_pillows(compiled: ModuleType) -> bool:
    """Whether it gives the installed Pillow's pixels of some noise, made smaller and larger."""
    box = (3, 2, 60, 47)
    for height, width in ((211, 302), (31, 40)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
        for resample in (2, 3):
            expected = np.asarray(image.resize((64, 48), resample).crop(box))
            found = _resized_crop(compiled, image, (64, 48), box, resample)
            if found is None or not np.array_equal(found, expected):
                return False
    return True


def resized_crop(
    image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], resample: int
) -> npt.NDArray[np.uint8] | None:
    """`np.asarray(image.resize(size, resample).crop(box))` for an RGB image, its rows resized before its columns.

    `size` is (width, height), both others than the image's; `box` lies within it; `resample` is 2 or 3, bilinear or
    bicubic. None where this process is not prepared.
    """
    return None if _compiled is None else _resized_crop(_compiled, image, size, box, resample)


def _resized_crop(
    compiled: ModuleType, image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], resample: int
) -> npt.NDArray[np.uint8] | None:
    left, top, right, bottom = box
    across = compiled.weights(image.width, size[0], left, right - left, resample)
    down = compiled.weights(image.height, size[1], top, bottom - top, resample)
    first, last = int(down[0].min()), int((down[0] + down[1]).max())
    columns = np.empty((last - first, right - left), np.uint32)
    for start, stop in _strips(image, first, last):
        strip = image if stop - start == image.height else image.crop((0, start, image.width, stop))
        rows = _samples(strip)
        if rows is None:
            return None
        skipped = max(first - start, 0)
        begin = start + skipped
        end = min(stop, last)
        compiled.resize_rows(rows[skipped : skipped + end - begin], *across, columns[begin - first : end - first])
    pixels: npt.NDArray[np.uint8] = compiled.resize_columns(columns, first, *down)
    return pixels


def _strips(image: Image.Image, first: int, last: int) -> list[tuple[int, int]]:
    """(First row, row after the last) of what is looked at in one piece."""
    row_bytes = image.width * _BYTES_PER_PIXEL
    if row_bytes * image.height <= _STRIP_BYTES:
        return [(0, image.height)]
    rows = max(1, _STRIP_BYTES // row_bytes)
    return [
        (first + rows * number, min(last, first + rows * (number + 1)))
        for number in range(math.ceil((last - first) / rows))
    ]


def _samples(image: Image.Image) -> npt.NDArray[np.uint32] | None:
    """uint32[height, width], RGB and a byte without meaning, in Pillow's own memory; None if it is in pieces."""
    import pyarrow as pa

    try:
        array = pa.array(image)
    except ValueError:
        return None
    (buffer,) = [buffer for buffer in array.buffers() if buffer is not None]
    return np.frombuffer(buffer, np.uint32).reshape(image.height, image.width)
