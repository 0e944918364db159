"""The stability strip in a report: its counts by batch, and what a card says of it."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from fakescan.run.stability.columns import LOGITS, SCORES, STRIP_NAMES, VARIANTS
from fakescan.run.stability.counts import StripCounter, StripSummary
from fakescan.run.stability.strip import Strip

REPORTED = tuple(name for name in STRIP_NAMES if name not in LOGITS)
"""The strip's columns that a report's rows have."""
SPREAD = "score_spread"
"""The column of a report's rows with the distance of the highest and the lowest score of an image and its variants."""
_CELLS = "strip/"


def strip_cells(rows: pa.Table, strip: Strip) -> Counter[str]:
    """Counts of rows as a batch's file holds them; none for a run without a strip."""
    if not strip.is_on:
        return Counter()
    counter = StripCounter(strip)
    counter.add(rows)
    return Counter({f"{_CELLS}{name}": count for name, count in counter.cells().items()})


def strip_summary(cells: Mapping[str, int], strip: Strip) -> StripSummary | None:
    """The counts of all batches; None for a run without a strip."""
    if not strip.is_on:
        return None
    counter = StripCounter(strip)
    counter.add_cells({name.removeprefix(_CELLS): count for name, count in cells.items() if name.startswith(_CELLS)})
    return counter.summary()


def score_spreads(rows: pa.Table) -> pa.Array:
    """`SPREAD` of rows that may have the columns of a strip, float32; null where no variant has a score."""
    if SCORES[0] not in rows.column_names:
        return pa.nulls(rows.num_rows, pa.float32())
    scores = np.stack([rows[name].to_numpy().astype(np.float32) for name in ("score", *SCORES)])
    absent = np.isnan(scores[1:]).all(axis=0)
    scores[:, absent] = 0
    return pa.array(np.nanmax(scores, axis=0) - np.nanmin(scores, axis=0), mask=absent)


def card_strips(rows: pa.Table, strip: Strip) -> pa.Array:
    """For each row that was looked at what its card shows, as JSON: name, score and whether the verdict is another one.

    `rows` as a run's parts have them; null for the others.
    """
    if not strip.is_on:
        return pa.nulls(rows.num_rows, pa.string())
    return pa.array([_card(row, strip) for row in rows.select(["logit", *STRIP_NAMES]).to_pylist()], pa.string())


def _card(row: Mapping[str, Any], strip: Strip) -> str | None:
    look = strip.read_look(row)
    if look is None:
        return None
    own = strip.own_verdict(row["logit"])
    shown = [
        [variant.name, None, False] if one is None else [variant.name, round(one.score, 6), one.verdict is not own]
        for variant, one in zip(VARIANTS, look.scores, strict=True)
    ]
    return json.dumps(shown)
