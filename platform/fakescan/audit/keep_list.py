"""Keep-lists: which images of a run go on, written as Parquet, CSV or text, and what was left out and why.

kept = write_keep_list(folder, "keep.parquet", Rule(drop=("fake",), min_score=0.9))
kept.kept["real"], kept.left_out["fake"]
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fakescan.audit.image_ids import Ids, id_columns
from fakescan.audit.output_file import output_file
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.summary.outcomes import OUTCOMES, outcome_numbers
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

FORMATS = (".parquet", ".csv", ".txt")
_COLUMNS = ("row_id", "uri", "sha256", "verdict", "score", "provenance", "provenance_basis")
_ROW_GROUP_ROWS = 65_536


@dataclass(frozen=True)
class Rule:
    """Which images are kept. One of `keep` and `drop` is empty."""

    keep: tuple[str, ...] = ()
    """Verdicts; all else is left out."""
    drop: tuple[str, ...] = ()
    """Verdicts; the others are kept."""
    min_score: float | None = None
    """Only images with this score or a higher one are meant by `keep` or `drop`."""
    max_score: float | None = None
    """Only images with this score or a lower one are."""
    uncertain: bool = False
    """Whether uncertain images are kept, where the verdicts do not name them."""
    errors: bool = False
    """Whether images without a verdict are kept."""
    provenance: tuple[str, ...] = ()
    """Only files that say one of these of their origin are meant by `keep` or `drop`, such as `ai_generated`, or
    `captured/c2pa_trusted` with where they say it; empty: whatever they say."""

    def keeps(self, rows: pa.Table, outcomes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Bool[rows]."""
        named = self.keep or self.drop
        meant = np.isin(outcomes, [OUTCOMES.index(name) for name in named])
        score = pc.fill_null(rows["score"], float("nan")).to_numpy()
        # As the columns hold it: 0.9 is a little less or more in single precision.
        if self.min_score is not None:
            meant &= score >= np.float32(self.min_score)
        if self.max_score is not None:
            meant &= score <= np.float32(self.max_score)
        says = self._says(rows)
        meant &= says
        kept = meant if self.keep else ~meant
        if "uncertain" not in named:
            kept = np.where(outcomes == OUTCOMES.index("uncertain"), self.uncertain, kept)
        kept = np.where(outcomes == OUTCOMES.index("errors"), self.errors, kept)
        if self.keep:
            kept &= says  # whatever their verdict is
        return kept.astype(bool)

    def _says(self, rows: pa.Table) -> NDArray[np.bool_]:
        if not self.provenance:
            return np.ones(rows.num_rows, bool)
        origin, basis = rows["provenance"], pc.fill_null(rows["provenance_basis"], "")
        wanted = pa.array(self.provenance)
        found = pc.or_(pc.is_in(origin, wanted), pc.is_in(pc.binary_join_element_wise(origin, basis, "/"), wanted))
        says: NDArray[np.bool_] = found.to_numpy().astype(bool)
        return says


@dataclass
class KeepList:
    """What became of a run's images."""

    kept: Counter[str] = field(default_factory=Counter)
    """Images by outcome: real, fake, uncertain, errors."""
    left_out: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    """Images that were not scanned yet, which are not kept."""


def write_keep_list(
    folder: RunFolder,
    output: str,
    rule: Rule,
    *,
    ids: Ids = "fakescan",
    store: Store | None = None,
    write: bool = True,
    on_parts: OnParts = nobody,
) -> KeepList:
    """Write the images that the rule keeps, in the order of the run; few parts are in memory.

    Raises UserError for an output that is none of `FORMATS`, and for a part that cannot be read: a list that lacks its
    images would look complete.
    """
    run = folder.open()
    if rule.provenance and not run.reads_provenance:
        raise UserError(f"provenance: the files of {redact(folder.url)} were not asked for it; scan them anew")
    shards = folder.listing().below(run.sharding.count).shards
    schema, make = id_columns(ids)
    result = KeepList(missing=run.rows - run.sharding.rows_of(shards))

    def kept_rows() -> Iterator[pa.Table]:
        for part in whole_tables(folder, run, shards.tolist(), _COLUMNS):
            outcomes = outcome_numbers(part["verdict"])
            keeps = rule.keeps(part, outcomes)
            for counter, chosen in ((result.kept, keeps), (result.left_out, ~keeps)):
                counts = np.bincount(outcomes[chosen], minlength=len(OUTCOMES)).tolist()
                counter.update({name: count for name, count in zip(OUTCOMES, counts, strict=True) if count})
            on_parts(1)
            yield make(part.filter(pa.array(keeps)))

    if not output.endswith(FORMATS):
        raise UserError(f"output: {redact(output)} must end with {', '.join(FORMATS)}, which says how it is written")
    if not write:
        for _ in kept_rows():
            pass
        return result
    with output_file(output, folder.store if store is None else store) as path, _writer(path, output, schema) as put:
        for table in _in_groups(kept_rows()):
            put(table)
    return result


def _in_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= _ROW_GROUP_ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


@contextmanager
def _writer(path: Path, name: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """What writes tables to a file of the format that its name says."""
    if name.endswith(".parquet"):
        with pq.ParquetWriter(path, schema, compression="zstd") as parquet:
            yield parquet.write_table
    elif name.endswith(".csv"):
        with pcsv.CSVWriter(path, schema) as csv:
            yield csv.write_table
    else:
        with path.open("w", encoding="utf-8", newline="\n") as text:

            def put(table: pa.Table) -> None:
                column = table[0] if "url" not in schema.names else pc.coalesce(table["key"], table["url"])
                for value in column.to_pylist():
                    if "\n" in value or "\r" in value:
                        raise UserError(f"output: the name {value!r} has a line break; write .csv or .parquet instead")
                    text.write(f"{value}\n")

            yield put
