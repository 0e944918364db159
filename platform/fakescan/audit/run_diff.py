"""What is different between two runs: images that are new, gone or other ones, and verdicts that changed.

difference = compare(RunFolder("audit-june", store), RunFolder("audit-july", store))
difference.new, difference.verdicts["real", "fake"]
"""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fakescan.audit.output_file import output_file
from fakescan.audit.run_join import By, joined
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import differences
from fakescan.run.summary.outcomes import OUTCOMES, outcome_numbers
from fakescan.storage.store import Store

MOVED = 0.1
"""Difference of two scores from which on a score has moved."""
_COLUMNS = ("uri", "row_id", "sha256", "verdict", "score")
CHANGES_SCHEMA = pa.schema(
    [
        pa.field("change", pa.string(), nullable=False),
        *(
            pa.field(f"{name}_{side}", {"row_id": pa.int64(), "score": pa.float32()}.get(name, pa.string()))
            for name in _COLUMNS
            for side in ("a", "b")
        ),
    ]
)
"""One row for each image that is not the same in both: `change` is new, gone, content or verdict."""


@dataclass
class RunDifference:
    """What is different in the second run."""

    settings: list[str] = field(default_factory=list)
    """Settings that differ, such as `threshold was 0.5, now 0.9`."""
    new: int = 0
    """Images that only the second run has."""
    gone: int = 0
    """Images that only the first run has."""
    replaced: int = 0
    """Images whose bytes are other ones."""
    same: int = 0
    """Images that both have, with the same bytes as far as both were fetched."""
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Images of `same` by outcome before and now, where these differ."""
    moved: int = 0
    """Images of `same` whose score moved by 0.1 or more."""
    new_outcomes: Counter[str] = field(default_factory=Counter)
    gone_outcomes: Counter[str] = field(default_factory=Counter)


def compare(
    first: RunFolder,
    second: RunFolder,
    *,
    by: By = "address",
    output: str | None = None,
    store: Store | None = None,
    on_parts: OnParts = nobody,
) -> RunDifference:
    """Compare two runs; the images that changed are written to `output`, Parquet, where one is named."""
    runs = first.open(), second.open()
    settings = [line for line in differences(runs[0], runs[1].identity, None) if not line.startswith("shard_rows")]
    result = RunDifference(settings=settings)
    with ExitStack() as stack:
        writer = None
        if output is not None:
            path = stack.enter_context(output_file(output, first.store if store is None else store))
            writer = stack.enter_context(pq.ParquetWriter(path, CHANGES_SCHEMA, compression="zstd"))
        for rows in joined(first, second, by=by, on_parts=on_parts):
            changed = _count(rows, result)
            if writer is not None and changed.num_rows:
                writer.write_table(changed)
    return result


def _count(rows: pa.Table, result: RunDifference) -> pa.Table:
    """Count the rows in; returns those that changed, in `CHANGES_SCHEMA`."""
    is_there = [rows[f"row_id_{side}"].is_valid().to_numpy() for side in ("a", "b")]
    before, now = (outcome_numbers(rows[f"verdict_{side}"]) for side in ("a", "b"))
    is_new, is_gone = ~is_there[0], ~is_there[1]
    both = is_there[0] & is_there[1]
    other = pc.fill_null(pc.not_equal(rows["sha256_a"], rows["sha256_b"]), False).to_numpy() & both
    same = both & ~other
    turned = same & (before != now)
    result.new += int(is_new.sum())
    result.gone += int(is_gone.sum())
    result.replaced += int(other.sum())
    result.same += int(same.sum())
    _add(result.new_outcomes, now[is_new])
    _add(result.gone_outcomes, before[is_gone])
    pairs, counts = np.unique(np.stack([before[turned], now[turned]]), axis=1, return_counts=True)
    for (one, two), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        result.verdicts[OUTCOMES[one], OUTCOMES[two]] += count
    scores = [rows[f"score_{side}"].to_numpy() for side in ("a", "b")]
    with np.errstate(invalid="ignore"):
        result.moved += int((same & (np.abs(scores[0] - scores[1]) >= MOVED)).sum())
    words = np.select([is_new, is_gone, other, turned], ["new", "gone", "content", "verdict"], "")
    changed = rows.append_column("change", pa.array(words, pa.string())).filter(pa.array(words != ""))
    return changed.select(CHANGES_SCHEMA.names).cast(CHANGES_SCHEMA)


def _add(counter: Counter[str], outcomes: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
    counts = np.bincount(outcomes, minlength=len(OUTCOMES)).tolist()
    counter.update({name: count for name, count in zip(OUTCOMES, counts, strict=True) if count})
