"""What a request costs in images: as far as it can be counted before it is judged, and when it has been."""

import math
from collections.abc import Sequence

from fakescan.serve.config import Limits
from fakescan.serve.gate.bounds.form import Form
from fakescan.serve.problem import Problem

MAX_FIELDS = 32
"""Parts of a form that are no files."""


def images_of(form: Form | None, limits: Limits) -> int:
    """Images of a request, which has one where it is no form. Raises Problem for more than there may be."""
    if form is None:
        return 1
    if form.files > limits.max_images:
        raise Problem("invalid", f"more than {limits.max_images} images in one request; send fewer")
    if form.parts > limits.max_images + MAX_FIELDS:
        raise Problem("invalid", f"the form has more than {MAX_FIELDS} fields beside its files; send fewer")
    return max(1, form.files)


def cost_of(images: int, pixels: Sequence[int], limits: Limits, *, was_given_up: bool) -> int:
    """What a request of so many images has cost, by the pixels of those that are known.

    With `was_given_up` those that nothing is known of count as the largest that there may be: they may have been
    decoded, and would be free for who leaves in time.
    """
    each = limits.megapixels_per_image * 1e6
    cost = sum(max(1, math.ceil(one / each)) for one in pixels)
    if was_given_up:
        cost += max(0, images - len(pixels)) * math.ceil(limits.max_pixels / each)
    return cost
