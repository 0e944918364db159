"""Writes the rows of a report, and beside each file of them what filters need of its rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fakescan.report.rows import schema as layout
from fakescan.report.rows.folder_tree import FolderTree
from fakescan.report.rows.order import Window, taken
from fakescan.report.rows.pictures import pictures_at
from fakescan.report.rows.schema import facets_schema, rows_schema, write_facets, write_rows
from fakescan.report.rows.sorted_batch import CODES, BatchFile, batch_name
from fakescan.report.rows.strip import REPORTED, SPREAD, score_spreads
from fakescan.run.folder import RunFolder
from fakescan.run.summary.folder_counts import folders_of
from fakescan.storage.objects import put_atomic, read_bytes

KEY = "fakescan.report"
"""Key in the metadata of a report's files: the digest of what it is made of."""

CHOSEN_SCHEMA = pa.schema(
    [
        pa.field("thumb", pa.int32()),
        pa.field("position", pa.int64()),
        pa.field("row_id", pa.int64()),
        pa.field("uri", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("sha256", pa.binary(32)),
        pa.field("num_bytes", pa.int64()),
        pa.field("verdict", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("explanation", pa.string()),
        pa.field("strip", pa.string()),
        pa.field("picture", pa.int64()),
        pa.field("images", pa.int32()),
    ]
)
"""Rows that get a thumbnail."""


@dataclass(frozen=True)
class WriteRows:
    """Writes the file of a window, and its facets into the folder of work."""

    target: RunFolder
    work: str
    data: str
    """Names of both folders, within the report's."""
    digest: str
    kept: Sequence[str]
    tree: FolderTree = field(repr=False)
    thumbs: NDArray[np.int64] = field(repr=False)
    """Positions with a thumbnail, ascending."""
    run_rows: int = 0
    """Rows of the run, also those that were not scanned yet."""
    strip: bool = False
    """Whether the rows have a stability strip."""

    def __call__(self, window: Window) -> int:
        """Returns the number of rows."""
        pieces = [self._piece(piece.batch, piece.first, piece.last) for piece in window.slices]
        facets: list[pa.Table] = []
        chosen: list[pa.Table] = []
        sink = pa.BufferOutputStream()
        schema = rows_schema(self.kept, REPORTED if self.strip else ())
        write_rows(self._groups(pieces, window, facets, chosen, schema), schema, sink, {KEY: self.digest})
        root = self.target.path
        small = pa.BufferOutputStream()
        write_facets([pa.concat_tables(facets).combine_chunks()], facets_schema(self.run_rows), small)
        put_atomic(self.target.fs, f"{root}/{self.work}/{facets_name(window.number)}", small.getvalue().to_pybytes())
        listed = pa.BufferOutputStream()
        with pa.ipc.new_file(listed, CHOSEN_SCHEMA) as writer:
            writer.write_table(pa.concat_tables([CHOSEN_SCHEMA.empty_table(), *chosen]))
        put_atomic(self.target.fs, f"{root}/{self.data}/{chosen_name(window.number)}", listed.getvalue().to_pybytes())
        put_atomic(self.target.fs, f"{root}/{self.data}/{rows_name(window.number)}", sink.getvalue().to_pybytes())
        return len(window.places)

    def _piece(self, batch: int, first: int, last: int) -> pa.Table:
        with BatchFile(self.target.fs, f"{self.target.path}/{self.work}/{batch_name(batch)}") as file:
            return pa.Table.from_batches(list(file.rows(first, last))).replace_schema_metadata(None)

    def _groups(
        self,
        pieces: Sequence[pa.Table],
        window: Window,
        facets: list[pa.Table],
        chosen: list[pa.Table],
        schema: pa.Schema,
    ) -> Iterator[pa.Table]:
        for first in range(0, len(window.places), layout.ROWS_PER_GROUP):
            rows = taken(pieces, window, first, first + layout.ROWS_PER_GROUP)
            folders = self.tree.ids_of(folders_of(rows["uri"].combine_chunks()))
            positions = window.first + first + np.arange(rows.num_rows)
            columns: dict[str, Any] = {name: rows[name] for name in rows.column_names}
            columns.setdefault("strip", pa.nulls(rows.num_rows, pa.string()))
            columns[SPREAD] = score_spreads(rows)
            columns |= {"folder": folders, "thumb": self._thumbs(positions), "position": pa.array(positions)}
            pictures = pictures_at(window, first, positions)
            columns |= {name: pictures[name] for name in ("picture", "images")}
            chosen.append(_chosen(columns))
            back = pc.subtract(positions, pictures["lead"])
            facets.append(_facets(rows, folders, back, columns[SPREAD], facets_schema(self.run_rows)))
            yield pa.table([columns[name] for name in schema.names], schema=schema)

    def _thumbs(self, positions: NDArray[np.int64]) -> pa.Array:
        place = np.searchsorted(self.thumbs, positions).clip(0, max(0, len(self.thumbs) - 1))
        absent = self.thumbs[place] != positions if len(self.thumbs) else np.ones(len(positions), bool)
        return pa.array(place.astype(np.int32), mask=absent)


def _chosen(columns: Mapping[str, Any]) -> pa.Table:
    """What it takes to make the thumbnails of those rows that get one."""
    table = pa.table([columns[name] for name in CHOSEN_SCHEMA.names], schema=CHOSEN_SCHEMA)
    return table.filter(table["thumb"].is_valid())


def chosen_name(number: int) -> str:
    """File name of the rows of a window that get a thumbnail."""
    return f"chosen-{number:05d}.arrow"


def rows_name(number: int) -> str:
    """File name of the rows of a window."""
    return f"rows-{number:05d}.parquet"


def facets_name(number: int) -> str:
    """File name of the facets of a window, or of several."""
    return f"facets-{number:05d}.parquet"


def _facets(rows: pa.Table, folders: pa.Array, back: pa.Array, spread: pa.Array, schema: pa.Schema) -> pa.Table:
    verdict = pc.fill_null(pc.index_in(rows["verdict"], pa.array(["real", "fake", "uncertain"])), 3)
    known = pc.fill_null(pc.index_in(rows["error_code"], pa.array(CODES)), len(CODES))
    error = pc.if_else(rows["error_code"].is_valid(), pc.add(known, 1), 0)
    kilobytes = pc.fill_null(pc.min_element_wise(pc.divide(pc.add(rows["num_bytes"], 1023), 1024), 2**31 - 1), 0)
    columns = {
        "verdict": verdict,
        "error": error,
        "folder": folders,
        "words": rows["words"],
        "flags": rows["flags"],
        "row_id": rows["row_id"],
        "kilobytes": kilobytes,
        "origin": rows["origin"],
        "back": back,
        "spread": pc.round(pc.multiply(pc.fill_null(spread, 0), 1000)),
    }
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def join_facets(
    target: RunFolder,
    work: str,
    data: str,
    digest: str,
    run_rows: int,
    windows: int,
    rows_per_window: int,
    there: Mapping[str, int],
) -> None:
    """Write the facets of all windows, some in a file, from the pieces in the folder of work; not those in `there`."""
    schema = facets_schema(run_rows)
    per_file, per_group = (
        rows // rows_per_window for rows in (layout.FACET_ROWS_PER_FILE, layout.FACET_ROWS_PER_GROUP)
    )
    for number, first in enumerate(range(0, windows, per_file)):
        if facets_name(number) in there:
            continue
        groups = (
            range(piece, min(piece + per_group, first + per_file, windows))
            for piece in range(first, min(first + per_file, windows), per_group)
        )
        sink = pa.BufferOutputStream()
        write_facets((_joined(target, work, pieces, schema) for pieces in groups), schema, sink, {KEY: digest})
        put_atomic(target.fs, f"{target.path}/{data}/{facets_name(number)}", sink.getvalue().to_pybytes())


def _joined(target: RunFolder, work: str, pieces: Iterable[int], schema: pa.Schema) -> pa.Table:
    paths = (f"{target.path}/{work}/{facets_name(piece)}" for piece in pieces)
    tables = [pq.read_table(pa.BufferReader(read_bytes(target.fs, path))).cast(schema) for path in paths]
    return pa.concat_tables(tables).combine_chunks()
