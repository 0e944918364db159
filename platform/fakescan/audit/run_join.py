"""Puts the rows of two runs side by side, however large they are: divided by a hash on disk, joined piece by piece."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.errors import JobFailedError
from fakescan.review.random_keys import random_keys
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.run_file import RunFile
from fakescan.storage.url import redact
from fakevlm.errors import UserError

By = Literal["address", "content"]
BYS: tuple[By, ...] = get_args(By)

PIECE_ROWS = 200_000
"""Rows of a piece, about: what of both runs is in memory together."""
MAX_PIECES = 512
"""Files that are written at once for a run; beyond 100 million rows the pieces get larger."""
_SPOOL_ROWS = 65_536
_COLUMNS = ("row_id", "uri", "sha256", "verdict", "score", "logit", "source_key")
_KEPT = ("row_id", "uri", "sha256", "verdict", "score", "logit")
SIDES = ("a", "b")


def joined(
    first: RunFolder, second: RunFolder, *, by: By = "address", on_parts: OnParts = nobody
) -> Iterator[pa.Table]:
    """Tables of the rows of both runs with `row_id_a`, `row_id_b` and so on, null on a side that has no such image.

    By `content` a content counts once in each run, its first row. Disk: about 100 bytes for each row, in the temporary
    folder. Raises UserError for a run without parts, JobFailedError for a part that cannot be read.
    """
    runs = [first.open(), second.open()]
    pieces = min(MAX_PIECES, max(1, -(-max(run.rows for run in runs) // PIECE_ROWS)))
    with tempfile.TemporaryDirectory(prefix="fakescan-diff-") as name:
        folders = [Path(name, side) for side in SIDES]
        for folder, run, place in zip((first, second), runs, folders, strict=True):
            place.mkdir()
            _spool(folder, run, place, pieces, by, on_parts)
        for piece in range(pieces):
            yield _joined_piece(*(_read(place / f"{piece}.arrow") for place in folders))
            for place in folders:
                (place / f"{piece}.arrow").unlink()


def _spool(folder: RunFolder, run: RunFile, place: Path, pieces: int, by: By, on_parts: OnParts) -> None:
    """Write the rows of a run into as many files as there are pieces, by their keys."""
    shards = folder.listing().below(run.sharding.count).shards
    if not len(shards):
        raise UserError(f"run: {redact(folder.url)} has no rows yet; scan first")
    schema = pa.schema([pa.field("key", pa.binary(16)), *((pa.field(name, _TYPES[name])) for name in _KEPT)])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(pa.ipc.new_file(str(place / f"{piece}.arrow"), schema, options=options))
            for piece in range(pieces)
        ]
        waiting: list[pa.Table] = []
        for part in whole_tables(folder, run, shards.tolist(), _COLUMNS, error=JobFailedError):
            waiting.append(_keyed(part, by, schema))
            if sum(table.num_rows for table in waiting) >= _SPOOL_ROWS:
                _divide(pa.concat_tables(waiting), sinks)
                waiting = []
            on_parts(1)
        if waiting:
            _divide(pa.concat_tables(waiting), sinks)


_TYPES = {
    "row_id": pa.int64(),
    "uri": pa.string(),
    "sha256": pa.string(),
    "verdict": pa.string(),
    "score": pa.float32(),
    "logit": pa.float32(),
}


def _keyed(rows: pa.Table, by: By, schema: pa.Schema) -> pa.Table:
    """The rows with 16 bytes that the same image has in another run: a key of its address, or of its content."""
    if by == "content":
        rows = rows.filter(pc.is_valid(rows["sha256"]))
        keys = [bytes.fromhex(text[:32]) for text in rows["sha256"].to_pylist()]
    else:
        halves = np.stack([random_keys(rows, seed) for seed in (1, 2)], axis=1)
        keys = [halves[row].tobytes() for row in range(rows.num_rows)]
    return pa.table([pa.array(keys, pa.binary(16)), *(rows[name] for name in _KEPT)], schema=schema)


def _divide(rows: pa.Table, sinks: list[pa.ipc.RecordBatchFileWriter]) -> None:
    if len(sinks) == 1:
        sinks[0].write_table(rows)
        return
    places = _heads(rows["key"]) % np.uint64(len(sinks))
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], np.arange(len(sinks) + 1, dtype=np.uint64))
    rows = rows.take(pa.array(order))
    for piece, sink in enumerate(sinks):
        if ends[piece + 1] > ends[piece]:
            sink.write_table(rows.slice(int(ends[piece]), int(ends[piece + 1] - ends[piece])))


def _heads(keys: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first eight bytes of each key."""
    return np.frombuffer(b"".join(keys.to_pylist()), np.uint64)[::2]


def _read(path: Path) -> pa.Table:
    """The rows of a piece, the first one of each key."""
    with pa.memory_map(str(path)) as source:
        rows = pa.ipc.open_file(source).read_all().sort_by("row_id")
    if not rows.num_rows:
        return rows
    codes = rows["key"].combine_chunks().cast(pa.binary()).dictionary_encode().indices.to_numpy()
    _, firsts = np.unique(codes, return_index=True)
    return rows.take(pa.array(np.sort(firsts)))


def _joined_piece(first: pa.Table, second: pa.Table) -> pa.Table:
    sides = [
        rows.set_column(0, "key", rows["key"].cast(pa.binary())).rename_columns(
            ["key", *(f"{name}_{side}" for name in _KEPT)]
        )
        for rows, side in zip((first, second), SIDES, strict=True)
    ]
    both = sides[0].join(sides[1], "key", join_type="full outer", use_threads=False)
    return both.drop_columns("key").sort_by([("row_id_a", "ascending"), ("row_id_b", "ascending")])
