"""The variants of an image that its verdict is tried on, and the columns of the results that they fill."""

from typing import Final, NamedTuple

import pyarrow as pa


class Variant(NamedTuple):
    """One way in which an image is changed."""

    name: str
    """In the names of its columns."""
    condition: str
    """The distortion of `fakevlm.metrics.distortion` that makes it."""
    words: str
    """For people, after "the image"."""


VARIANTS: Final = (
    Variant("jpeg70", "jpeg70", "as a JPEG of quality 70"),
    Variant("half", "resize0.5", "at half its size"),
    Variant("small", "shrink512-jpeg40", "at 512 pixels as a JPEG of quality 40"),
    Variant("flip", "flip", "mirrored"),
    Variant("pad", "pad", "padded instead of cropped"),
)
SCORES: Final = tuple(f"score_{variant.name}" for variant in VARIANTS)
LOGITS: Final = tuple(f"logit_{variant.name}" for variant in VARIANTS)
HOLDS: Final = "verdict_holds"
NOTE: Final = "strip_note"

STRIP_FIELDS: Final = (
    *(pa.field(name, pa.float32()) for name in (*SCORES, *LOGITS)),
    pa.field(HOLDS, pa.bool_()),
    pa.field(NOTE, pa.string()),
)
"""The columns of a run with a strip. All are null in a row that was not looked at."""
STRIP_NAMES: Final = tuple(field.name for field in STRIP_FIELDS)
