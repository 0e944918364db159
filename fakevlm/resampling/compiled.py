"""Pillow's 8-bit resampling (libImaging/Resample.c) with its loops turned so that a compiler can vectorise them.

A filter is the same for all rows, or all columns: so each weight is multiplied with a whole line of samples at
once, and rows are turned into columns before. Weights are whole numbers with `PRECISION_BITS` after the point, sums are
exact, so their order changes nothing.
"""

import numpy as np
from numba import int32, int64, njit, types, uint8, uint32

PRECISION_BITS = 32 - 8 - 2
_HALF = 1 << (PRECISION_BITS - 1)
_ONE = float(1 << PRECISION_BITS)
_ROWS = 64
"""Rows that are turned at once, so that they stay in the processor's cache."""
_TILE = 16

_SAMPLES = types.Array(uint32, 2, "A", readonly=True)
_FILTER = types.Tuple((int32[::1], int32[::1], int32[:, ::1]))


@njit(_FILTER(int64, int64, int64, int64, int64), nogil=True, cache=True)
def weights(source, length, first, count, resample):  # type: ignore[no-untyped-def]
    """The first sample of each of `count` outputs, the number of its samples, and their weights, int32[count, samples].

    The outputs are those from `first` on, where `source` samples become `length`; `resample` is 2 or 3, bilinear or
    bicubic (a = -0.5).
    """
    scale = source / length
    filter_scale = max(scale, 1.0)
    support = (1.0 if resample == 2 else 2.0) * filter_scale
    inverse = 1.0 / filter_scale
    size = int(np.ceil(support)) * 2 + 1
    starts, counts = np.empty(count, np.int32), np.empty(count, np.int32)
    fixed, values = np.zeros((count, size), np.int32), np.empty(size)
    for output in range(count):
        center = (first + output + 0.5) * scale
        low = max(0, int(center - support + 0.5))
        samples = min(source, int(center + support + 0.5)) - low
        total = 0.0
        for i in range(samples):
            x = abs((low + i - center + 0.5) * inverse)
            value = 0.0
            if resample == 2:
                if x < 1.0:
                    value = 1.0 - x
            elif x < 1.0:
                value = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1
            elif x < 2.0:
                value = (((x - 5) * x + 8) * x - 4) * -0.5
            values[i] = value
            total += value
        for i in range(samples):
            value = values[i] / total if total != 0.0 else values[i]
            fixed[output, i] = int(value * _ONE + (0.5 if value >= 0 else -0.5))
        starts[output], counts[output] = low, samples
    return starts, counts, fixed


@njit(nogil=True, inline="always")
def _filter(lines, first, starts, counts, fixed, target):  # type: ignore[no-untyped-def]
    """Each line of `target` as a weighted sum of lines, uint8[lines, samples]; the first has number `first`."""
    length = lines.shape[1]
    sums = np.empty(length, np.int32)
    for output in range(starts.shape[0]):
        sums[:] = _HALF
        start, number, i = starts[output] - first, counts[output], 0
        while i + 4 <= number:  # four lines for each time that the sums are read and written
            one, two, three, four = lines[start + i], lines[start + i + 1], lines[start + i + 2], lines[start + i + 3]
            a, b, c, d = fixed[output, i], fixed[output, i + 1], fixed[output, i + 2], fixed[output, i + 3]
            for x in range(length):
                sums[x] += np.int32(one[x]) * a + np.int32(two[x]) * b + np.int32(three[x]) * c + np.int32(four[x]) * d
            i += 4
        while i < number:
            weight, line = fixed[output, i], lines[start + i]
            for x in range(length):
                sums[x] += np.int32(line[x]) * weight
            i += 1
        for x in range(length):
            target[output, x] = min(max(sums[x] >> PRECISION_BITS, 0), 255)


@njit(nogil=True, inline="always")
def _turn(source, target):  # type: ignore[no-untyped-def]
    """Rows of `source` to columns of `target`, tile by tile."""
    for top in range(0, source.shape[0], _TILE):
        bottom = min(top + _TILE, source.shape[0])
        for left in range(0, source.shape[1], _TILE):
            right = min(left + _TILE, source.shape[1])
            for x in range(left, right):
                for y in range(top, bottom):
                    target[x, y] = source[y, x]


@njit(types.void(_SAMPLES, int32[::1], int32[::1], int32[:, ::1], uint32[:, ::1]), nogil=True, cache=True)
def resize_rows(image, starts, counts, fixed, target):  # type: ignore[no-untyped-def]
    """Every row of `image`, uint32[rows, width] of four samples each, to a row of `target`, uint32[rows, outputs]."""
    outputs = starts.shape[0]
    left, right = image.shape[1], 0
    for output in range(outputs):
        left = min(left, starts[output])
        right = max(right, starts[output] + counts[output])
    for first in range(0, image.shape[0], _ROWS):
        rows = min(_ROWS, image.shape[0] - first)
        turned = np.empty((right - left, rows), np.uint32)
        _turn(image[first : first + rows, left:right], turned)
        resized = np.empty((outputs, 4 * rows), np.uint8)
        _filter(turned.view(np.uint8), left, starts, counts, fixed, resized)
        _turn(resized.view(np.uint32), target[first : first + rows])


@njit(uint8[:, :, ::1](uint32[:, ::1], int64, int32[::1], int32[::1], int32[:, ::1]), nogil=True, cache=True)
def resize_columns(rows, first, starts, counts, fixed):  # type: ignore[no-untyped-def]
    """uint8[outputs, width, 3] of rows, uint32[rows, width] of four samples each; the first has number `first`."""
    height, width = starts.shape[0], rows.shape[1]
    resized = np.empty((height, 4 * width), np.uint8)
    _filter(rows.view(np.uint8), first, starts, counts, fixed, resized)
    pixels = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for x in range(width):
            for band in range(3):
                pixels[y, x, band] = resized[y, 4 * x + band]
    return pixels
