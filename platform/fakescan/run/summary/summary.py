"""The summary of a run: one pass over its parts, with the columns that it needs.

summary = summarize(RunFolder("s3://bucket/audit", Store()))
print(summary.outcomes.fake, summary.copies.contents)
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import PartTable, UnreadablePart, part_tables
from fakescan.run.run_file import RunFile
from fakescan.run.summary import image_facts
from fakescan.run.summary.copies import ContentHashes, CopyGroup
from fakescan.run.summary.folder_counts import FolderCounts
from fakescan.run.summary.image_facts import ImageFacts, ImageFactsCounter
from fakescan.run.summary.outcomes import OUTCOMES, outcome_numbers
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.url import redact

BANDS = 10
"""Bands of equal width that scores are counted in."""
MAX_FOLDERS = 1000
"""Folders that a summary lists."""
_COLUMNS = (*image_facts.COLUMNS, "verdict", "score", "error_code", "error_message", "scanned_at")
_GROUPS = 5
_URIS = 2


class Outcomes(StrictModel):
    """Rows by what became of them."""

    rows: int = 0
    real: int = 0
    fake: int = 0
    uncertain: int = 0
    errors: int = 0


class FolderOutcomes(Outcomes):
    """Rows of one folder."""

    folder: str
    """Below the folder that all images have in common; `.` is that folder itself."""


class Folders(StrictModel):
    """Rows by folder."""

    base: str
    """The folder that all images have in common; empty where there is none."""
    depth: int
    """Folders below it that are told apart."""
    largest: list[FolderOutcomes]
    """Most rows first; at most `MAX_FOLDERS`."""
    others: int
    """Folders that are not listed. Where there are more than 100,000, it may count some twice."""
    other_rows: int
    """Rows in them."""


class ErrorRows(StrictModel):
    """Rows with one error code."""

    code: str
    rows: int
    uri: str
    """Of the first one."""
    message: str | None
    """Of the first one."""


class CopiedContent(Outcomes):
    """Rows whose images have the same bytes."""

    uris: list[str]
    """Of some of the rows."""


class Copies(StrictModel):
    """Images that are in the run more than once, by the SHA-256 of their bytes."""

    contents: int
    """Different contents of which there is a copy."""
    rows: int
    """Rows with one of these contents."""
    largest: list[CopiedContent]
    """Contents with the most copies."""
    differing: int
    """Contents whose copies got different verdicts."""
    different: list[CopiedContent]
    """Some of them."""


class MissingRows(StrictModel):
    """A part whose rows are not in the summary."""

    name: str
    reason: str
    rows: int
    """Rows that it should hold."""


class RunSummary(StrictModel):
    """What the rows of a run say together."""

    run: str
    """Where it is."""
    run_id: str
    created_at: datetime
    source: str
    model: str
    warning: str | None
    """Set when the verdicts mean nothing, or less than one would think."""
    rows: int
    """Rows of the whole run."""
    done: int
    """Rows whose part exists."""
    is_finished: bool
    outcomes: Outcomes
    """Rows that were counted: those of `done` that are not in `unreadable`."""
    bands: list[int]
    """Rows by score, in ten bands from 0 to 1; a score on a border is in the upper one."""
    threshold: float
    """Score from which an image counts as fake."""
    folders: Folders
    errors: list[ErrorRows]
    """By code, most rows first."""
    noted: int
    """Images that were judged although their file lacks something; the rows say what."""
    copies: Copies
    images: ImageFacts
    scanned_from: datetime | None
    scanned_to: datetime | None
    seen: int | None
    """What the source was seen to hold when it was listed."""
    left_out: dict[str, int]
    """What of that became no row, by reason."""
    notes: list[str]
    """Choices made in reading the source."""
    unreadable: list[MissingRows]


def summarize(folder: RunFolder, *, depth: int = 1, on_part: Callable[[], None] = lambda: None) -> RunSummary:
    """Read the parts that exist; `on_part` is called after each. A run may be unfinished.

    A part that cannot be read is named in `unreadable`. Needs at most 80 bytes of memory for each row of the run, and
    the rows of a few parts. Raises UserError where there is no run, JobFailedError where the store fails.
    """
    run = folder.open()
    sharding = run.sharding
    shards = [shard for shard in folder.shards() if shard < sharding.count]
    count = _Count(run, depth)
    unreadable: list[UnreadablePart] = []
    for part in part_tables(folder, run, shards, _COLUMNS):
        if isinstance(part, PartTable):
            count.add(sharding.first(part.shard), part.table)
        else:
            unreadable.append(part)
        on_part()
    return RunSummary(
        run=redact(folder.url),
        run_id=run.run_id,
        created_at=run.created_at,
        source=run.identity.selection.source,
        model=run.model,
        warning=run.warning,
        rows=run.rows,
        done=sum(sharding.size(shard) for shard in shards),
        is_finished=len(shards) == sharding.count,
        threshold=run.identity.ask.calibration.threshold,
        copies=_copies(folder, run, count.hashes),
        seen=run.seen,
        left_out=run.left_out,
        notes=list(run.notes),
        unreadable=[MissingRows(**asdict(part)) for part in unreadable],
        **count.results(),
    )


class _Count:
    """What the parts so far say."""

    def __init__(self, run: RunFile, depth: int) -> None:
        self.hashes = ContentHashes(run.rows, len(run.identity.conditions))
        self._depth = depth
        self._folders = FolderCounts(depth)
        self._facts = ImageFactsCounter()
        self._outcomes = np.zeros(len(OUTCOMES), np.int64)
        self._bands = np.zeros(BANDS, np.int64)
        self._errors: dict[str, ErrorRows] = {}
        self._noted = 0
        self._times: list[datetime] = []

    def add(self, first: int, rows: pa.Table) -> None:
        """Count consecutive rows from row id `first` on in."""
        outcomes = outcome_numbers(rows["verdict"])
        self._outcomes += np.bincount(outcomes, minlength=len(OUTCOMES))
        self._bands += band_counts(rows["score"])
        self._folders.add(rows["uri"], outcomes)
        self._facts.add(rows)
        self.hashes.add(first, rows["sha256"], outcomes)
        self._noted += pc.sum(
            pc.and_(rows["verdict"].is_valid(), rows["error_message"].is_valid()), min_count=0
        ).as_py()
        self._add_errors(rows)
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

    def results(self) -> dict[str, Any]:
        """Fields of the summary."""
        return {
            "outcomes": Outcomes(**_counts(self._outcomes)),
            "bands": self._bands.tolist(),
            "folders": self._listed_folders(),
            "errors": sorted(self._errors.values(), key=lambda error: (-error.rows, error.code)),
            "noted": self._noted,
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
            largest=[FolderOutcomes(folder=name, **_counts(counts)) for name, counts in largest[:MAX_FOLDERS]],
            others=len(others) + dropped,
            other_rows=sum(int(counts.sum()) for _, counts in others) + int(rows_of_dropped.sum()),
        )


def band_counts(scores: pa.ChunkedArray) -> NDArray[np.int64]:
    """Scores by band, without those that are null."""
    # In float32, as they are stored: 0.7 is just under 7/10 there, and its product with 10 is 7.
    values = scores.drop_null().to_numpy().astype(np.float32)
    bands = np.floor(values[np.isfinite(values)] * np.float32(BANDS)).astype(np.int64)
    return np.bincount(bands.clip(0, BANDS - 1), minlength=BANDS)


def _counts(outcomes: NDArray[np.int64]) -> dict[str, int]:
    return {"rows": int(outcomes.sum()), **dict(zip(OUTCOMES, outcomes.tolist(), strict=True))}


def _copies(folder: RunFolder, run: RunFile, hashes: ContentHashes) -> Copies:
    found = hashes.counts(_GROUPS)
    groups = (*found.largest, *found.different)
    uris = dict(_uris(folder, run, (row for group in groups for row in _examples(group))))

    def contents(groups: Iterable[CopyGroup]) -> list[CopiedContent]:
        return [
            CopiedContent(
                uris=[uris[row] for row in _examples(group) if row in uris],
                **_counts(np.bincount(group.outcomes, minlength=len(OUTCOMES))),
            )
            for group in groups
        ]

    return Copies(
        contents=found.contents,
        rows=found.rows,
        largest=contents(found.largest),
        differing=found.differing,
        different=contents(found.different),
    )


def _examples(group: CopyGroup) -> list[int]:
    """Some rows of a group: the first of each outcome, then the first ones."""
    _, firsts = np.unique(group.outcomes, return_index=True)
    order = [*firsts.tolist(), *(index for index in range(min(_URIS, len(group.rows))) if index not in firsts)]
    return [int(group.rows[index]) for index in order[:_URIS]]


def _uris(folder: RunFolder, run: RunFile, rows: Iterable[int]) -> Iterator[tuple[int, str]]:
    """The addresses of rows, as far as their parts can be read."""
    by_shard: dict[int, set[int]] = {}
    for row in rows:
        by_shard.setdefault(run.sharding.of(row), set()).add(row)
    for part in part_tables(folder, run, sorted(by_shard), ["uri"]):
        if isinstance(part, PartTable):
            first = run.sharding.first(part.shard)
            yield from ((row, part.table["uri"][row - first].as_py()) for row in by_shard[part.shard])
