"""Counts the rows of a run, some parts at a time; what was counted apart is counted together at the end."""

from collections import Counter
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.counts import provenance_counts
from fakescan.run.own_words import overruled
from fakescan.run.stability.counts import StripCounter
from fakescan.run.stability.strip import Strip
from fakescan.run.summary.copies import PackedHashes
from fakescan.run.summary.folder_counts import FolderCounts
from fakescan.run.summary.image_facts import ImageFactsCounter
from fakescan.run.summary.outcomes import OUTCOMES, outcome_numbers
from fakescan.run.summary.run_summary import ErrorRows, FolderOutcomes, Folders, Outcomes, Overruled

BANDS = 10
"""Bands of equal width that scores are counted in."""
MAX_FOLDERS = 1000
"""Folders that a summary lists."""


class RowCount:
    """What the rows of some parts say; `hashes` takes those of their contents."""

    def __init__(self, depth: int, strip: Strip) -> None:
        self.hashes = PackedHashes()
        self._depth = depth
        self._folders = FolderCounts(depth)
        self._facts = ImageFactsCounter()
        self._outcomes = np.zeros(len(OUTCOMES), np.int64)
        self._bands = np.zeros(BANDS, np.int64)
        self._errors: dict[str, ErrorRows] = {}
        self._noted = 0
        self._provenance: Counter[str] = Counter()
        self._overruled = np.zeros(len(OUTCOMES), np.int64)
        self._times: list[datetime] = []
        self._strip = StripCounter(strip) if strip.is_on else None

    def add(self, first: int, rows: pa.Table) -> None:
        """Count consecutive rows from row id `first` on in."""
        outcomes = outcome_numbers(rows["verdict"])
        self._outcomes += np.bincount(outcomes, minlength=len(OUTCOMES))
        self._bands += band_counts(rows["score"])
        self._overruled += np.bincount(outcomes[overruled(rows).to_numpy()], minlength=len(OUTCOMES))
        self._folders.add(rows["uri"], outcomes)
        self._facts.add(rows)
        self.hashes.add(first, rows["sha256"], outcomes)
        self._noted += pc.sum(
            pc.and_(rows["verdict"].is_valid(), rows["error_message"].is_valid()), min_count=0
        ).as_py()
        self._provenance.update(provenance_counts(rows))
        self._add_errors(rows)
        if self._strip is not None:
            self._strip.add(rows)
        times = pc.min_max(rows["scanned_at"]).as_py()
        self._times = [time for time in (*self._times, *times.values()) if time is not None]
        self._times = [min(self._times), max(self._times)] if self._times else []

    def _add_errors(self, rows: pa.Table) -> None:
        for item in rows["error_code"].drop_null().value_counts().to_pylist():
            code, count = item["values"], item["counts"]
            if code not in self._errors:
                row = rows.slice(pc.index(rows["error_code"], code).as_py(), 1).to_pylist()[0]
                self._errors[code] = ErrorRows(code=code, rows=0, uri=row["uri"], message=row["error_message"])
            known = self._errors[code]
            self._errors[code] = known.model_copy(update={"rows": known.rows + count})

    def merge(self, other: "RowCount") -> None:
        """Count the rows of parts in that come after these; their hashes apart."""
        self._outcomes += other._outcomes
        self._bands += other._bands
        self._overruled += other._overruled
        self._folders.merge(other._folders)
        self._facts.merge(other._facts)
        self._noted += other._noted
        self._provenance.update(other._provenance)
        if self._strip is not None and other._strip is not None:
            self._strip.merge(other._strip)
        for code, found in other._errors.items():
            known = self._errors.get(code)
            self._errors[code] = found if known is None else known.model_copy(update={"rows": known.rows + found.rows})
        times = [*self._times, *other._times]
        self._times = [min(times), max(times)] if times else []

    def results(self) -> dict[str, Any]:
        """Fields of the summary."""
        return {
            "outcomes": Outcomes(**counts_by_name(self._outcomes)),
            "overruled": Overruled(
                real=int(self._overruled[OUTCOMES.index("real")]), fake=int(self._overruled[OUTCOMES.index("fake")])
            ),
            "bands": self._bands.tolist(),
            "folders": self._listed_folders(),
            "errors": sorted(self._errors.values(), key=lambda error: (-error.rows, error.code)),
            "noted": self._noted,
            "provenance": dict(sorted(self._provenance.items())),
            "strip": None if self._strip is None else self._strip.summary(),
            "images": self._facts.facts(),
            "scanned_from": self._times[0] if self._times else None,
            "scanned_to": self._times[1] if self._times else None,
        }

    def _listed_folders(self) -> Folders:
        largest = self._folders.largest()
        dropped, rows_of_dropped = self._folders.rest
        others = largest[MAX_FOLDERS:]
        return Folders(
            base=self._folders.base,
            depth=self._depth,
            largest=[FolderOutcomes(folder=name, **counts_by_name(counts)) for name, counts in largest[:MAX_FOLDERS]],
            others=len(others) + dropped,
            other_rows=sum(int(counts.sum()) for _, counts in others) + int(rows_of_dropped.sum()),
        )


def band_counts(scores: pa.ChunkedArray) -> NDArray[np.int64]:
    """Scores by band, without those that are null."""
    # In float32, as they are stored: 0.7 is just under 7/10 there, and its product with 10 is 7.
    values = scores.drop_null().to_numpy().astype(np.float32)
    bands = np.floor(values[np.isfinite(values)] * np.float32(BANDS)).astype(np.int64)
    return np.bincount(bands.clip(0, BANDS - 1), minlength=BANDS)


def counts_by_name(outcomes: NDArray[np.int64]) -> dict[str, int]:
    return {"rows": int(outcomes.sum()), **dict(zip(OUTCOMES, outcomes.tolist(), strict=True))}
