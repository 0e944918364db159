"""Merges a finished run's many parts into few big Parquet files for readers; the parts remain what counts."""

import io
from collections.abc import Iterator

import pyarrow.parquet as pq

from fakescan.run.folder import RunFolder
from fakescan.run.parts import Sharding
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.objects import list_names, put_atomic
from fakescan.storage.url import redact
from fakevlm.errors import UserError

ROWS_PER_FILE = 1_000_000
INDEX = "index.json"


class CompactFile(StrictModel):
    """One merged file: rows `first_row` … `first_row + rows - 1`."""

    name: str
    first_row: int
    rows: int


class CompactIndex(StrictModel):
    """compact/index.json, written last: the merged files it names are complete."""

    run_id: str
    files: list[CompactFile]


def compact(folder: RunFolder, *, rows_per_file: int = ROWS_PER_FILE) -> CompactIndex:
    """Write compact/results-*.parquet, each by one PUT, and then compact/index.json.

    Names and contents derive from the parts alone, so that a repeated or interrupted call is harmless. Raises UserError
    for a run that is not finished. Holds one merged file in memory, compressed.
    """
    run = folder.open()
    sharding = run.sharding
    left = folder.missing(sharding)
    if len(left):
        raise UserError(f"run: {redact(folder.url)} is not finished ({len(left)} parts are missing); resume it first")
    per_file = max(1, rows_per_file // run.shard_rows)
    groups = [range(first, min(first + per_file, sharding.count)) for first in range(0, sharding.count, per_file)]
    files = list(_write(folder, sharding, groups))
    _remove_others(folder, {file.name for file in files})
    index = CompactIndex(run_id=run.run_id, files=files)
    put_atomic(folder.fs, f"{folder.path}/compact/{INDEX}", index.model_dump_json(indent=2).encode())
    return index


def _write(folder: RunFolder, sharding: Sharding, groups: list[range]) -> Iterator[CompactFile]:
    for number, shards in enumerate(groups):
        name = f"results-{number:05d}.parquet"
        sink = io.BytesIO()
        rows = 0
        with pq.ParquetWriter(sink, RESULT_SCHEMA, compression="zstd") as writer:
            for _, part in folder.tables(shards):
                writer.write_table(part.cast(RESULT_SCHEMA))
                rows += part.num_rows
        expected = sum(sharding.size(shard) for shard in shards)
        if rows != expected:
            raise UserError(f"run: the parts of {name} hold {rows} rows, not {expected}; run fakescan verify")
        put_atomic(folder.fs, f"{folder.path}/compact/{name}", sink.getvalue())
        yield CompactFile(name=name, first_row=sharding.first(shards[0]), rows=rows)


def _remove_others(folder: RunFolder, kept: set[str]) -> None:
    """Merged files of an earlier call that cut the run otherwise would be read twice."""
    for name, _ in list_names(folder.fs, f"{folder.path}/compact"):
        if name.startswith("results-") and name not in kept:
            folder.fs.rm_file(f"{folder.path}/compact/{name}")
