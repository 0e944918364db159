"""Keeps the memory of large images and bodies from staying with a process that lives for months."""

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE_BYTES = 8 << 20
"""Pictures of up to 2.8 megapixels are smaller: a new block costs a page fault for every page."""
_KEPT_BYTES = 32 << 20
"""Bytes of smaller blocks that each thread may keep."""


def give_back_large_blocks() -> None:
    """Has blocks of 8 MiB and more returned to the system when they are freed, with the GNU C library.

    By default it learns from the first large block that is freed to keep them: 115 MB for each decoding thread after
    an image of 36 megapixels.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
