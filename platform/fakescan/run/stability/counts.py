"""Counts the strips of rows: how many verdicts hold, and under which variant they do not."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.stability.columns import HOLDS, LOGITS, STRIP_NAMES, VARIANTS
from fakescan.run.stability.strip import Strip
from fakescan.settings.strict_model import StrictModel
from fakevlm.verdict import Calibration, decide, score_of

COLUMNS = ("logit", *STRIP_NAMES)
"""Columns that the counts are made of."""


class VariantCounts(StrictModel):
    """Rows by what the model says of one variant."""

    name: str
    """As in the columns."""
    words: str
    """What is done to the image."""
    judged: int
    """Rows of which it could be judged."""
    changed: int
    """Of these, rows that have another verdict with it."""
    failed: int
    """Rows of which it could not be judged."""


class StripSummary(StrictModel):
    """Rows that were looked at again."""

    stability: str
    """Which rows: flagged, sample, all."""
    share: float | None
    """The share of a sample."""
    unstable: str
    """What became of a verdict that does not hold: keep, uncertain."""
    looked: int
    holds: int
    """Rows whose verdict every variant has."""
    changes: int
    """Rows whose verdict does not hold."""
    unknown: int
    """The others: a variant could not be judged, and those that could be have the verdict."""
    variants: list[VariantCounts]


class StripCounter:
    """Counts rows in."""

    def __init__(self, strip: Strip) -> None:
        self._strip = strip
        self._looks = np.zeros(3, np.int64)
        self._variants = np.zeros((len(VARIANTS), 2), np.int64)

    def add(self, rows: pa.Table) -> None:
        """Rows with `COLUMNS`."""
        looked = pc.or_(pc.is_valid(rows[STRIP_NAMES[-1]]), pc.is_valid(rows[HOLDS]))
        some = rows.filter(looked)
        if not some.num_rows:
            return
        holds = some[HOLDS].to_pylist()
        self._looks += (holds.count(True), holds.count(False), holds.count(None))
        calibration = self._strip.calibration
        own = _verdicts(some["logit"], calibration)
        for number, name in enumerate(LOGITS):
            there = some[name].is_valid().to_numpy()
            changed = _verdicts(some[name], calibration) != own
            self._variants[number] += (there.sum(), (changed & there).sum())

    def merge(self, other: "StripCounter") -> None:
        """Count in what another has counted."""
        self._looks += other._looks
        self._variants += other._variants

    def cells(self) -> dict[str, int]:
        """The counts by name."""
        cells = dict(zip(("holds", "changes", "unknown"), self._looks.tolist(), strict=True))
        for variant, (judged, changed) in zip(VARIANTS, self._variants.tolist(), strict=True):
            cells |= {f"{variant.name}/judged": judged, f"{variant.name}/changed": changed}
        return cells

    def add_cells(self, cells: Mapping[str, int]) -> None:
        """The inverse: count in what `cells` gave."""
        self._looks += [cells.get(name, 0) for name in ("holds", "changes", "unknown")]
        self._variants += [
            [cells.get(f"{variant.name}/{what}", 0) for what in ("judged", "changed")] for variant in VARIANTS
        ]

    def summary(self) -> StripSummary:
        """The counts."""
        holds, changes, unknown = self._looks.tolist()
        return StripSummary(
            stability=self._strip.stability,
            share=self._strip.share,
            unstable=self._strip.unstable,
            looked=holds + changes + unknown,
            holds=holds,
            changes=changes,
            unknown=unknown,
            variants=[
                VariantCounts(
                    name=variant.name,
                    words=variant.words,
                    judged=judged,
                    changed=changed,
                    failed=holds + changes + unknown - judged,
                )
                for variant, (judged, changed) in zip(VARIANTS, self._variants.tolist(), strict=True)
            ],
        )


def _verdicts(logits: pa.ChunkedArray, calibration: Calibration) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    found = [
        None if logit is None else decide(score_of(logit, calibration), calibration) for logit in logits.to_pylist()
    ]
    return np.array(found, object)
