"""Which rows of a report are one picture: found once for all rows, then a column of each window of them.

In the rows' files `picture` is the id of the first row of the picture, and `images` how many it has, as in what
`fakescan duplicates -o` writes. In the windows `lead` is the position of its first row in the order of the
report, which has the highest score, and the facets say how far it is: the page shows one image of each picture by it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from numpy.typing import NDArray

from fakescan.report.report_file import LargePicture, PictureFacts
from fakescan.report.rows.order import Order, Window
from fakescan.report.rows.sorted_batch import BatchFile
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.run.summary.outcomes import ERROR, OUTCOMES
from fakescan.run.summary.pictures import COLUMNS, RowHashes, RunPictures
from fakescan.storage.objects import put_atomic, read_bytes

MAX_ROWS = 12_000_000
"""Rows with a verdict of which pictures are searched: the search takes about 200 bytes for each."""
LARGEST = 10
"""Pictures with most images that a report names."""

_FILE = "pictures.arrow"
_SCHEMA = pa.schema([("row_id", pa.int64()), ("picture", pa.int64()), ("outcome", pa.int8())])
_BLANK = b"fakescan.blank"


def why_unknown(run: RunFile, judged: int) -> str | None:
    """Why nobody can say which rows are one picture; None where one can."""
    if "phash" not in run.result_schema.names:
        return "The run was begun by a version that did not hash pictures."
    if judged > MAX_ROWS:
        return f"A report looks for near-duplicates among at most {MAX_ROWS:,} images."
    return None


def find_pictures(
    target: RunFolder, work: str, batches: Iterable[BatchFile], on_table: Callable[[int], None] = lambda _: None
) -> RunPictures:
    """The pictures of the rows of all batches. The result is kept in the folder of work: a call after an interruption
    reads it. `on_table`: as of `picture_clusters`."""
    path = f"{target.path}/{work}/{_FILE}"
    known = _known(target.fs, path)
    if known is not None:
        return known
    hashes = RowHashes()
    for file in batches:
        with file:
            hashes.take(file.columns(*COLUMNS))
    found = hashes.pictures(on_table=on_table)
    columns = [pa.array(found.rows), pa.array(found.ids), pa.array(found.outcomes)]
    sink = pa.BufferOutputStream()
    schema = _SCHEMA.with_metadata({_BLANK: str(found.blank)})
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(pa.table(columns, schema=schema))
    put_atomic(target.fs, path, sink.getvalue().to_pybytes())
    return found


def _known(fs: AbstractFileSystem, path: str) -> RunPictures | None:
    try:
        with pa.ipc.open_file(pa.BufferReader(read_bytes(fs, path))) as file:
            table = file.read_all()
    except (FileNotFoundError, NotADirectoryError, pa.ArrowInvalid):
        return None
    rows, ids, outcomes = (table[name].to_numpy() for name in _SCHEMA.names)
    return RunPictures(rows, np.searchsorted(rows, ids).astype(np.int64), outcomes, int(table.schema.metadata[_BLANK]))


@dataclass(frozen=True)
class PlacedPictures:
    """Pictures of rows by their positions in the report."""

    pictures: RunPictures
    places: NDArray[np.int64]
    """For each position the place of its row in `pictures`; -1 for a row without a verdict."""
    leads: NDArray[np.int64]
    """For each place of the first row of a picture the first position of the picture's rows; else -1."""

    @classmethod
    def of(cls, pictures: RunPictures, row_ids: NDArray[np.int64]) -> "PlacedPictures":
        """Pictures of the rows at the positions from 0 on."""
        places, there = pictures.places(row_ids)
        places[~there] = -1
        leads = np.full(len(pictures.rows), -1, np.int64)
        positions = np.flatnonzero(there)[::-1]  # of several values for one place the last one stays
        leads[pictures.firsts[places[positions]]] = positions
        return cls(pictures, places, leads)

    def table(self, first: int, last: int) -> pa.Table:
        """`picture`, `images` and `lead` of the positions from `first` to just below `last`."""
        places = self.places[first:last]
        absent = places < 0
        firsts = self.pictures.firsts[places.clip(0)] if len(self.pictures.rows) else np.zeros(len(places), np.int64)
        positions = np.arange(first, first + len(places))
        if not len(self.pictures.rows):
            return _without(positions)
        return pa.table(
            {
                "picture": pa.array(self.pictures.rows[firsts], mask=absent),
                "images": pa.array(self.pictures.sizes[firsts].astype(np.int32), mask=absent),
                "lead": pa.array(np.where(absent, positions, self.leads[firsts]).astype(np.int32)),
            }
        )

    @property
    def leading(self) -> NDArray[np.bool_]:
        """The positions whose row is the first of its picture, and those of rows without a verdict."""
        firsts = self.pictures.firsts[self.places.clip(0)] if len(self.pictures.rows) else self.places
        leading: NDArray[np.bool_] = self.places < 0
        if len(self.pictures.rows):
            leading = leading | (self.leads[firsts] == np.arange(len(self.places)))
        return leading

    def windows(self, order: Order, rows: int) -> Iterator[Window]:
        """The windows of an order, with their pictures."""
        for window in order.windows(rows):
            yield replace(window, pictures=self.table(window.first, window.first + len(window.places)))

    def facts(self, uri_at: Callable[[int], str]) -> PictureFacts:
        """How many pictures there are, and the largest. `uri_at`: the address of the row at a position."""
        counts = self.pictures.counts()
        return PictureFacts(
            total=counts.total,
            images=counts.images,
            pictures=counts.pictures,
            mixed=counts.mixed,
            blank=counts.blank,
            largest=[self._large(place, uri_at) for place in self.pictures.largest(LARGEST).tolist()],
        )

    def _large(self, place: int, uri_at: Callable[[int], str]) -> LargePicture:
        outcomes = np.bincount(self.pictures.outcomes[self.pictures.firsts == place], minlength=ERROR).tolist()
        lead = int(self.leads[place])
        return LargePicture(
            picture=int(self.pictures.rows[place]),
            rows=int(self.pictures.sizes[place]),
            position=lead,
            row_id=int(self.pictures.rows[self.places[lead]]),
            uri=uri_at(lead),
            **dict(zip(OUTCOMES[:ERROR], outcomes, strict=True)),
        )


def pictures_at(window: Window, first: int, positions: NDArray[np.int64]) -> pa.Table:
    """The columns of some rows of a window, which begin at its place `first`."""
    if window.pictures is None:
        return _without(positions)
    return window.pictures.slice(first, len(positions))


def _without(positions: NDArray[np.int64]) -> pa.Table:
    """Every row is a picture of its own, and nobody knows of which."""
    nothing = len(positions)
    return pa.table(
        {
            "picture": pa.nulls(nothing, pa.int64()),
            "images": pa.nulls(nothing, pa.int32()),
            "lead": pa.array(positions.astype(np.int32)),
        }
    )


def first_images(fs: AbstractFileSystem, paths: Iterable[str]) -> Iterator[pa.Table]:
    """The first image of each picture, with `row_id`, `verdict` and `logit`, from a report's files of rows."""
    for path in paths:
        with fs.open(path, "rb") as source:
            file = pq.ParquetFile(source)
            for batch in file.iter_batches(2**18, columns=["row_id", "verdict", "logit", "picture"]):
                rows = pa.Table.from_batches([batch])
                yield rows.filter(pc.equal(rows["row_id"], rows["picture"])).drop_columns(["picture"])
