"""What a JPEG costs by its size, decoded exactly and fast, and the cores that a GPU needs for it."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.decode_bench.clock import cpu_ms
from benchmarks.decode_bench.steps import MAX_PIXELS, stored
from benchmarks.images import _grain, sample_photographs
from fakevlm.preprocess import ImageSpec, decode

SIZES = {0.3: (640, 480), 1: (1152, 864), 4: (2304, 1728), 12: (4000, 3000), 48: (8000, 6000)}
"""Megapixels to (width, height)."""
RATE = 120.0
"""Images per second of one GPU, about the most that an H100 does with FakeVLM in 16 bits, score-only."""
_PICTURES = 3


def by_size(spec: ImageSpec, rounds: int) -> Iterator[tuple[str, ...]]:
    """Rows of megapixels, CPU-ms exact and fast, and cores for `RATE` images a second of each."""
    photographs = sorted(sample_photographs(), key=lambda photo: -photo.width * photo.height)[:_PICTURES]
    for megapixels, size in SIZES.items():
        costs = []
        for number, photo in enumerate(photographs):
            picture = photo.resize(size, Image.Resampling.BICUBIC)
            data = stored(_grain(picture, 4.0, np.random.default_rng(number)))
            modes = {mode: partial(_decode, data, spec, mode) for mode in ("exact", "fast")}
            costs.append(list(cpu_ms(modes, rounds if megapixels < 48 else 2).values()))
        exact, fast = np.mean(costs, axis=0)
        yield (
            f"{megapixels:g}", f"{exact:.1f}", f"{fast:.1f}", f"{exact * RATE / 1e3:.1f}", f"{fast * RATE / 1e3:.1f}"
        )  # fmt: skip


def _decode(data: bytes, spec: ImageSpec, mode: str) -> object:
    return decode(data, spec, max_pixels=MAX_PIXELS, decoding="fast" if mode == "fast" else "exact")
