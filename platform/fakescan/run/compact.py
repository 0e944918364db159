"""Merges a finished run's many parts into few big Parquet files for readers; the parts remain what counts."""

from collections.abc import Iterator

import pyarrow as pa
from pydantic import ValidationError

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import Seal, parquet_bytes, read_parquet, seal_of
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.url import redact
from fakevlm.errors import UserError, one_line

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
    files = list(_write(folder, run, groups))
    _remove_others(folder, {file.name for file in files})
    index = CompactIndex(run_id=run.run_id, files=files)
    put_atomic(folder.fs, f"{folder.path}/compact/{INDEX}", index.model_dump_json(indent=2).encode())
    return index


def _write(folder: RunFolder, run: RunFile, groups: list[range]) -> Iterator[CompactFile]:
    sharding, schema = run.sharding, run.result_schema
    for number, shards in enumerate(groups):
        name = f"results-{number:05d}.parquet"
        parts = [part.cast(schema) for _, part in folder.tables(shards)]
        rows = sum(part.num_rows for part in parts)
        expected = sum(sharding.size(shard) for shard in shards)
        if rows != expected:
            raise UserError(f"run: the parts of {name} hold {rows} rows, not {expected}; run fakescan verify")
        put_atomic(folder.fs, f"{folder.path}/compact/{name}", parquet_bytes(parts, schema))
        yield CompactFile(name=name, first_row=sharding.first(shards[0]), rows=rows)


def _remove_others(folder: RunFolder, kept: set[str]) -> None:
    """Merged files of an earlier call that cut the run otherwise would be read twice."""
    for name, _ in list_names(folder.fs, f"{folder.path}/compact"):
        if name.startswith("results-") and name not in kept:
            folder.fs.rm_file(f"{folder.path}/compact/{name}")


def check_compact(folder: RunFolder, run: RunFile) -> list[str]:
    """What is wrong with the compact files of a run whose parts are sound, a line each; none where there are no files.

    Holds one file in memory, and reads the parts.
    """
    names = {name for name, _ in list_names(folder.fs, f"{folder.path}/compact") if not name.startswith(".")}
    if not names:
        return []
    again = "run fakescan compact again"
    try:
        index = CompactIndex.model_validate_json(read_bytes(folder.fs, f"{folder.path}/compact/{INDEX}"))
    except FileNotFoundError:
        return [f"compact/ is unfinished ({INDEX} is missing); {again}"]
    except ValidationError:
        return [f"compact/{INDEX} is damaged; {again}"]
    if index.run_id != run.run_id:
        return [f"compact/ comes from another run; {again}"]
    problems = [f"compact/{name} is not a file of this run" for name in sorted(names - _names(index) - {INDEX})]
    if [(file.first_row, file.rows) for file in index.files] != _cut(run, index):
        problems.append(f"compact/{INDEX} does not cover every row once; {again}")
        return problems
    for file in index.files:
        problem = _file_problem(folder, run, file)
        if problem is not None:
            problems.append(f"compact/{file.name} {problem}; {again}")
    return problems


def _names(index: CompactIndex) -> set[str]:
    return {file.name for file in index.files}


def _cut(run: RunFile, index: CompactIndex) -> list[tuple[int, int]]:
    """First row and number of rows of each file, as they would be with the first file's size."""
    per_file = index.files[0].rows if index.files else 0
    if per_file <= 0:
        return []
    return [(first, min(per_file, run.rows - first)) for first in range(0, run.rows, per_file)]


def _file_problem(folder: RunFolder, run: RunFile, file: CompactFile) -> str | None:
    try:
        data = read_bytes(folder.fs, f"{folder.path}/compact/{file.name}")
        seal = seal_of(data)
        if seal is Seal.BROKEN:
            return "was changed after it was written (its checksum is wrong)"
        table = read_parquet(data)
    except FileNotFoundError:
        return "is missing"
    except (pa.ArrowInvalid, OSError) as error:
        return f"cannot be read: {one_line(error)}"
    if not table.schema.equals(run.result_schema) or table.num_rows != file.rows:
        return "has other columns or rows than its index says"
    sharding = run.sharding
    last = sharding.of(file.first_row + file.rows - 1)
    for shard, part in folder.tables(range(sharding.of(file.first_row), last + 1)):
        if not table.slice(sharding.first(shard) - file.first_row, sharding.size(shard)).equals(part):
            return f"differs from {part_name(shard)}"
    if seal is Seal.MISSING and run.schema_version != "1":
        return "was not written by fakescan as it is (it has no checksum)"
    return None
