"""The plan of a sample: which strata a run was cut into, how large they are, and how many images of each were drawn."""

import math
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.settings.strict_model import StrictModel

Design = Literal["estimate", "threshold", "disagree", "discover", "qa"]
DESIGNS: tuple[Design, ...] = get_args(Design)
COVERING: tuple[Design, ...] = ("estimate", "threshold")
"""Designs in which every image has a known chance above 0: only these may feed a prevalence or a calibration."""


class Stratum(StrictModel):
    """Images that are drawn from with the same chance."""

    name: str
    """For people."""
    verdict: str
    """Of all of them."""
    low: float | None = None
    """Logits from here on; None for no lower end."""
    high: float | None = None
    """Logits below this; None for no upper end."""
    rows: int
    """Images in it."""
    drawn: int
    """Images of it in the sample."""

    @property
    def probability(self) -> float:
        """Chance of an image to be in the sample."""
        return self.drawn / self.rows if self.rows else 0.0


class SamplePlan(StrictModel):
    """What a sample is, in the metadata of its file."""

    version: Literal["1"] = "1"
    design: Design
    seed: int
    run_id: str
    model: str
    drawn_at: datetime
    rows: int
    """Images that could be drawn: those with a verdict."""
    errors: int
    """Images without a verdict, which no sample and no number covers."""
    missing: int = 0
    """Images of the run that were not scanned yet."""
    strata: list[Stratum]

    @property
    def covers_all(self) -> bool:
        """Whether every image with a verdict had a known chance above 0."""
        return self.design in COVERING

    @property
    def drawn(self) -> int:
        """Images in the sample."""
        return sum(stratum.drawn for stratum in self.strata)


def stratum_numbers(rows: pa.Table, strata: list[Stratum]) -> NDArray[np.int64]:
    """The stratum of each row by its number, -1 for none. Needs `verdict` and `logit`."""
    verdicts, logits = rows["verdict"], pc.fill_null(rows["logit"], 0.0).to_numpy().astype(np.float64)
    numbers = np.full(rows.num_rows, -1, np.int64)
    for number, stratum in enumerate(strata):
        low = -math.inf if stratum.low is None else stratum.low
        high = math.inf if stratum.high is None else stratum.high
        same = pc.fill_null(pc.equal(verdicts, stratum.verdict), False).to_numpy(zero_copy_only=False)
        numbers[same & (logits >= low) & ((logits < high) | (high == math.inf))] = number
    return numbers
