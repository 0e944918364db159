"""From the counts of sorted batches to the numbers of a report."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.report.report_file import (
    Band,
    CopyFacts,
    ErrorGroup,
    ErrorMessage,
    FlagCount,
    ProvenanceFacts,
    Scores,
    Totals,
    Unreadable,
    WordCount,
)
from fakescan.report.rows import schema as layout
from fakescan.report.rows.flags import FLAGS
from fakescan.report.rows.folder_tree import FolderCount, FolderTree
from fakescan.report.rows.order import Order
from fakescan.report.rows.origins import provenance_facts
from fakescan.report.rows.sorted_batch import CODES, BatchCounts, BatchFile
from fakescan.report.rows.strip import strip_summary
from fakescan.report.rows.words import WORDS
from fakescan.run.stability.counts import StripSummary
from fakescan.run.stability.strip import Strip
from fakescan.run.summary.copies import ContentHashes, PackedHashes
from fakescan.run.summary.outcomes import OUTCOMES, outcome_numbers
from fakescan.run.summary.row_count import BANDS

MAX_FILE_BYTES = 2**28
"""Of the rows of one file in memory."""
MAX_MESSAGES = 20
"""Messages of one error code that a report tells apart."""
_MAX_KEPT = 10_000
"""Messages that are told apart while they are counted."""


class RowCounts:
    """Takes batches in their order; then has the numbers of all rows."""

    def __init__(self, rows: int, conditions: int) -> None:
        self._cells: Counter[str] = Counter()
        self._folders = FolderCount()
        self._messages: dict[tuple[str, str | None], ErrorMessage] = {}
        self._hashes = ContentHashes(rows, conditions)
        self._keys: list[NDArray[np.float32]] = []
        self._verdicts: list[NDArray[np.uint8]] = []
        self._row_ids: list[NDArray[np.int64]] = []
        self.times: list[datetime] = []
        self.unreadable: list[Unreadable] = []

    def add(self, file: BatchFile) -> None:
        """Take a batch."""
        counts = file.counts()
        self._cells.update(counts.cells)
        self._folders.add((row[0] for row in counts.folders), (row[1:] for row in counts.folders))
        self._add_messages(counts)
        self.unreadable += [Unreadable(name=name, reason=why, rows=rows) for name, why, rows in counts.unreadable]
        times = [*self.times, *(datetime.fromisoformat(time) for time in counts.times)]
        self.times = [min(times), max(times)] if times else []
        columns = file.columns("key", "verdict", "sha256", "row_id")
        self._keys.append(columns["key"].to_numpy())
        outcomes = outcome_numbers(columns["verdict"])
        self._verdicts.append(outcomes.astype(np.uint8))
        self._row_ids.append(columns["row_id"].to_numpy())
        self._add_hashes(columns, outcomes)

    def _add_messages(self, counts: BatchCounts) -> None:
        for code, message, rows, row_id, uri in counts.errors:
            key = code, message
            if key not in self._messages and len(self._messages) >= _MAX_KEPT:
                key = code, None
            known = self._messages.get(key)
            if known is None:
                self._messages[key] = ErrorMessage(message=key[1], rows=rows, row_id=row_id, uri=uri)
            else:
                self._messages[key] = known.model_copy(update={"rows": known.rows + rows})

    def _add_hashes(self, columns: Any, outcomes: NDArray[np.int64]) -> None:
        there = columns["sha256"].is_valid().to_numpy()
        hashes = columns["sha256"].combine_chunks()
        if not there.any():
            return
        data = np.frombuffer(hashes.buffers()[1], np.uint64).reshape(-1, 4)[hashes.offset :][: len(hashes)]
        packed = PackedHashes()
        packed.pieces.append((columns["row_id"].to_numpy()[there], data[there, :2].T, outcomes[there].astype(np.uint8)))
        self._hashes.take(packed)

    def order(self) -> Order:
        """The order of the rows, whose parts are given up."""
        order = Order(self._keys, self._verdicts)
        self._keys, self._verdicts = [], []
        return order

    def row_ids(self) -> NDArray[np.int64]:
        """The ids of the rows of all batches, one batch after the other; they are given up."""
        ids: NDArray[np.int64] = np.concatenate([np.zeros(0, np.int64), *self._row_ids])
        self._row_ids = []
        return ids

    def tree(self) -> FolderTree:
        """The folders."""
        return self._folders.tree()

    def totals(self) -> Totals:
        """All rows."""
        real, fake, uncertain, errors = (self._cells[f"verdict/{name}"] for name in OUTCOMES)
        return Totals(
            rows=real + fake + uncertain + errors,
            real=real,
            fake=fake,
            uncertain=uncertain,
            errors=errors,
            judged=real + fake + uncertain,
            overruled=self._flag("overruled"),
            noted=self._flag("noted"),
        )

    def scores(self, order: Order) -> Scores:
        """Rows by score."""
        bands = []
        for band in range(BANDS):
            counts = {name: self._cells[f"band/{band}/{name}"] for name in OUTCOMES[:3]}
            bands.append(Band(low=band / BANDS, high=(band + 1) / BANDS, rows=sum(counts.values()), **counts))
        return Scores(scored=order.scored, at_least=order.at_least(), bands=bands)

    def errors(self, order: Order) -> list[ErrorGroup]:
        """By code, most rows first."""
        groups = []
        for code in sorted({code for code, _ in self._messages}):
            number = CODES.index(code) + 1 if code in CODES else len(CODES) + 1
            found = sorted(
                (one for (its, _), one in self._messages.items() if its == code),
                key=lambda one: (-one.rows, one.row_id),
            )
            told = [one for one in found if one.message is not None][:MAX_MESSAGES]
            rows = sum(one.rows for one in found)
            groups.append(
                ErrorGroup(
                    number=number,
                    code=code,
                    rows=rows,
                    position=order.place_of_key(float(number)),
                    messages=told,
                    other_messages=rows - sum(one.rows for one in told),
                )
            )
        return sorted(groups, key=lambda group: (-group.rows, group.code))

    def words(self) -> Iterator[WordCount]:
        """Rows by what their explanations speak of."""
        for bit, word in enumerate(WORDS):
            counts = {name: self._cells[f"word/{bit}/{name}"] for name in OUTCOMES[:3]}
            yield WordCount(bit=bit, name=word.name, label=word.label, rows=sum(counts.values()), **counts)

    def flags(self) -> Iterator[FlagCount]:
        """Rows by flag."""
        for bit, flag in enumerate(FLAGS):
            yield FlagCount(bit=bit, name=flag.name, label=flag.label, rows=self._cells[f"flag/{bit}"])

    def formats(self) -> dict[str, int]:
        """Images by format, most first."""
        names = {name: count for name, count in self._cells.items() if name.startswith("format/")}
        return {name.removeprefix("format/"): count for name, count in Counter(names).most_common()}

    def provenance(self) -> ProvenanceFacts | None:
        """What the files say of their own origin; None where none was read for it."""
        asked: Counter[str] = Counter()
        for name, rows in self._cells.items():
            if name.startswith("origin/"):
                asked[name.rpartition("/")[2]] += rows
        unread = {name: self._cells[f"verdict/{name}"] - asked[name] for name in OUTCOMES}
        return provenance_facts(self._cells, unread)

    @property
    def num_bytes(self) -> int:
        """Bytes of all images that were fetched."""
        return self._cells["num_bytes"]

    @property
    def rows_per_file(self) -> int:
        """Rows of a file: fewer than usual where they are so long that whoever writes a file would hold too much."""
        rows = layout.ROWS_PER_FILE
        each = self._cells["table_bytes"] / max(1, self.totals().rows)
        while rows > layout.ROWS_PER_GROUP and rows * each > MAX_FILE_BYTES:
            rows //= 2
        return rows

    def copies(self) -> CopyFacts:
        """Images that are there more than once."""
        found = self._hashes.counts(0)
        return CopyFacts(contents=found.contents, rows=found.rows, differing=found.differing)

    def strip(self, strip: Strip) -> StripSummary | None:
        """Images that were looked at again; None for a run without a stability strip."""
        return strip_summary(self._cells, strip)

    def _flag(self, name: str) -> int:
        return self._cells[f"flag/{[flag.name for flag in FLAGS].index(name)}"]


def counted(files: Iterable[BatchFile], rows: int, conditions: int) -> RowCounts:
    """The counts of sorted batches."""
    counts = RowCounts(rows, conditions)
    for file in files:
        with file:
            counts.add(file)
    return counts
