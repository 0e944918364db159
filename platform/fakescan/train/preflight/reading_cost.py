"""What augmentation costs the threads that read images: a model that learns faster than they read has to wait."""

import time
from typing import NamedTuple

from fakescan.train.feed import MAX_PIXELS, Samples
from fakevlm.errors import ImageError
from fakevlm.image_file import read_image
from fakevlm.preprocess import fit

_IMAGES = 24
"""Images to measure on."""


class ReadingCost(NamedTuple):
    """CPU time of an image from its bytes to the model's input size, on the average of some."""

    images: int
    pixels: float
    """Their mean area."""
    plain_ms: float
    augmented_ms: float
    """With the augmentation, by which some stay as they are."""


def reading_cost(samples: Samples) -> ReadingCost | None:
    """Measure it on some images spread over the data; None without augmentation, or where none can be read."""
    augmentation = samples.augmentation
    if augmentation is None:
        return None
    records = samples.dataset.records
    count, pixels, plain, changed = 0, 0, 0.0, 0.0
    for index in range(0, len(records), max(1, len(records) // _IMAGES))[:_IMAGES]:
        try:
            data = samples.dataset.read_image(records[index])
            began = time.thread_time()
            image = read_image(data, max_pixels=MAX_PIXELS).rgb
        except ImageError:
            continue
        decoded = time.thread_time()
        fit(image, samples.checkpoint.image)
        fitted = time.thread_time()
        fit(augmentation.apply(image, index, 0), samples.checkpoint.image)
        plain += fitted - began
        changed += decoded - began + time.thread_time() - fitted
        count += 1
        pixels += image.width * image.height
    return ReadingCost(count, pixels / count, 1e3 * plain / count, 1e3 * changed / count) if count else None
