"""Merges a finished run's many parts into few big Parquet files for readers; the parts remain what counts.

A file says in its footer which parts it was made of, by the beginnings of their seals: so a later call, or `verify`,
tells whether it still is what the parts make without reading them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from fakescan.run.bulk.threads import on_threads
from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.facts.run_facts import OnParts, nobody, read_facts
from fakescan.run.facts.table import SEAL_BYTES
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import Seal, parquet_bytes, read_parquet, read_sealed, seal_of, seal_text
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.url import redact
from fakevlm.errors import UserError, one_line

ROWS_PER_FILE = 1_000_000
INDEX = "index.json"

_ROW_GROUP_ROWS = 65_536
_READERS = 8
_TASK_BYTES = 3 * 2**28
"""Memory of a task that merges a file: the file, compressed, and the rows of a row group."""
_PARTS_KEY = "fakescan.parts"
"""Key in a merged file's metadata: SHA-256 in hex over the beginnings of the seals of the parts that it was made of."""


class CompactFile(StrictModel):
    """One merged file: rows `first_row` … `first_row + rows - 1`."""

    name: str
    first_row: int
    rows: int


class CompactIndex(StrictModel):
    """compact/index.json, written last: the merged files it names are complete."""

    run_id: str
    files: list[CompactFile]


@dataclass(frozen=True, slots=True)
class _Group:
    """A merged file and the shards that it is made of."""

    file: CompactFile
    shards: range
    parts: str | None = None
    """What names the parts' present versions; None where that is not known, or a part has no seal."""


def compact(
    folder: RunFolder,
    *,
    rows_per_file: int = ROWS_PER_FILE,
    workers: Workers = HERE,
    on_parts: OnParts = nobody,
) -> CompactIndex:
    """Write compact/results-*.parquet, each by one PUT, and then compact/index.json.

    Names and contents derive from the parts alone: files that are there and right are left as they are, so that an
    interrupted call is continued by the same one. Raises UserError for a run that is not finished or has a damaged
    part. A process holds one merged file in memory, compressed. `on_parts` is told of parts that are in their file.
    """
    run = folder.open()
    sharding = run.sharding
    listing = folder.listing().below(sharding.count)
    if missing := sharding.count - len(listing):
        raise UserError(f"run: {redact(folder.url)} is not finished ({missing} parts are missing); resume it first")
    per_file = max(1, rows_per_file // run.shard_rows)
    there = {name for name, _ in list_names(folder.fs, f"{folder.path}/compact")}
    groups = [
        _group(run, number, range(first, min(first + per_file, sharding.count)))
        for number, first in enumerate(range(0, sharding.count, per_file))
    ]
    begun = [group.shards for group in groups if group.file.name in there]
    if begun:  # only these have to be compared with their parts
        places = np.concatenate([np.arange(shards.start, shards.stop) for shards in begun])
        facts = read_facts(folder, run, listing.at(places), workers).table
        groups = [replace(group, parts=parts_digest(facts, group.shards)) for group in groups]
    work = _Merge(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run)
    merging = workers.each(work, groups, parts=sharding.count, url=folder.url, memory=_TASK_BYTES)
    with closing(merging) as done:
        for parts in done:
            on_parts(parts)
    files = [group.file for group in groups]
    _remove_others(folder, {file.name for file in files})
    index = CompactIndex(run_id=run.run_id, files=files)
    put_atomic(folder.fs, f"{folder.path}/compact/{INDEX}", index.model_dump_json(indent=2).encode())
    return index


def _group(run: RunFile, number: int, shards: range) -> _Group:
    first = run.sharding.first(shards[0])
    rows = min(run.sharding.first(shards[-1]) + run.shard_rows, run.rows) - first
    file = CompactFile(name=f"results-{number:05d}.parquet", first_row=first, rows=rows)
    return _Group(file, shards)


def parts_digest(facts: pa.Table, shards: range) -> str | None:
    """What names these parts as they are, from their facts; None where one has no facts or no seal."""
    numbers = facts["shard"].to_numpy()
    first, last = np.searchsorted(numbers, [shards[0], shards[-1] + 1])
    seals = facts["seal"].slice(first, last - first).combine_chunks()
    if len(seals) != len(shards) or seals.null_count:
        return None
    data = memoryview(seals.buffers()[1])[seals.offset * SEAL_BYTES : (seals.offset + len(seals)) * SEAL_BYTES]
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class _Merge:
    """Writes one merged file, unless it is there and right; returns the number of its parts."""

    folder: RunFolder
    run: RunFile

    def __call__(self, group: _Group) -> int:
        path = f"{self.folder.path}/compact/{group.file.name}"
        if group.parts is None or not self._is_right(path, group.parts):
            metadata: dict[str, str] = {}
            data = parquet_bytes(self._row_groups(group, metadata), self.run.result_schema, metadata)
            put_atomic(self.folder.fs, path, data)
        return len(group.shards)

    def _is_right(self, path: str, parts: str) -> bool:
        """Whether the file is there, as it was written, and made of the parts as they are now."""
        try:
            data = read_bytes(self.folder.fs, path)
        except FileNotFoundError:
            return False
        return seal_of(data) is Seal.INTACT and _made_of(data) == parts

    def _row_groups(self, group: _Group, metadata: dict[str, str]) -> Iterator[pa.Table]:
        """The parts' rows, few parts at a time; at the end `metadata` has the file's.

        Raises UserError where they are not the rows of the file.
        """
        rows, seen = 0, 0
        digest: Any = hashlib.sha256()
        waiting: list[pa.Table] = []
        with closing(on_threads(self._read, group.shards, threads=_READERS)) as parts:
            for part, seal in parts:
                waiting.append(part)
                rows, seen = rows + part.num_rows, seen + part.num_rows
                if seal is None:
                    digest = None
                elif digest is not None:
                    digest.update(seal)
                if rows >= _ROW_GROUP_ROWS:
                    yield pa.concat_tables(waiting).combine_chunks()
                    waiting, rows = [], 0
        if waiting:
            yield pa.concat_tables(waiting).combine_chunks()
        if seen != group.file.rows:
            raise UserError(
                f"run: the parts of {group.file.name} hold {seen} rows, not {group.file.rows}; run fakescan verify"
            )
        if digest is not None:
            metadata[_PARTS_KEY] = digest.hexdigest()

    def _read(self, shard: int) -> tuple[pa.Table, bytes | None]:
        """The rows of a part, and the beginning of its seal."""
        data = self.folder.part_data(shard)
        where = f"{part_name(shard)} of {redact(self.folder.url)}"
        if data is None:
            raise UserError(f"run: {where} is missing; scan again to complete it")
        try:
            table, seal = read_sealed(data).cast(self.run.result_schema), seal_text(data)
        except (pa.ArrowException, ValueError) as error:
            raise UserError(f"run: {where} is damaged: {one_line(error)}") from None
        return table, None if seal is None else bytes.fromhex(seal)[:SEAL_BYTES]


def _made_of(data: bytes) -> str | None:
    """What a merged file says that it was made of."""
    try:
        found = pq.read_metadata(pa.BufferReader(data)).metadata.get(_PARTS_KEY.encode())
    except (pa.ArrowException, OSError, AttributeError):
        return None
    return None if found is None else str(found, errors="replace")


def _remove_others(folder: RunFolder, kept: set[str]) -> None:
    """Merged files of an earlier call that cut the run otherwise would be read twice."""
    for name, _ in list_names(folder.fs, f"{folder.path}/compact"):
        if name.startswith("results-") and name not in kept:
            folder.fs.rm_file(f"{folder.path}/compact/{name}")


def check_compact(folder: RunFolder, run: RunFile, facts: pa.Table, workers: Workers = HERE) -> list[str]:
    """What is wrong with the compact files of a run whose parts are sound, a line each; none where there are no files.

    `facts` are those of all parts. A file that was made by a version before files named their parts is compared with
    them row by row. A process holds one file in memory.
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
    sharding = run.sharding
    shards = [
        range(sharding.of(file.first_row), sharding.of(file.first_row + file.rows - 1) + 1) for file in index.files
    ]
    groups = [
        _Group(file, covered, parts_digest(facts, covered)) for file, covered in zip(index.files, shards, strict=True)
    ]
    work = _Check(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run)
    checking = workers.each(work, groups, parts=sharding.count, url=folder.url, memory=_TASK_BYTES)
    with closing(checking) as found:
        for file, problem in zip(index.files, found, strict=True):
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


@dataclass(frozen=True)
class _Check:
    """What is wrong with a merged file, as the end of a sentence about it; None for a sound one."""

    folder: RunFolder
    run: RunFile

    def __call__(self, group: _Group) -> str | None:
        file = group.file
        try:
            data = read_bytes(self.folder.fs, f"{self.folder.path}/compact/{file.name}")
            seal = seal_of(data)
            if seal is Seal.BROKEN:
                return "was changed after it was written (its checksum is wrong)"
            made_of = _made_of(data) if seal is Seal.INTACT else None
            if made_of is not None and made_of == group.parts and _holds(data, file, self.run):
                return None
            return self._compared(read_parquet(data), group, seal)
        except FileNotFoundError:
            return "is missing"
        except (pa.ArrowInvalid, OSError) as error:
            return f"cannot be read: {one_line(error)}"

    def _compared(self, table: pa.Table, group: _Group, seal: Seal) -> str | None:
        file, sharding = group.file, self.run.sharding
        if not table.schema.equals(self.run.result_schema) or table.num_rows != file.rows:
            return "has other columns or rows than its index says"
        for shard, part in self.folder.tables(group.shards):
            if not table.slice(sharding.first(shard) - file.first_row, sharding.size(shard)).equals(part):
                return f"differs from {part_name(shard)}"
        if seal is Seal.MISSING and self.run.schema_version != "1":
            return "was not written by fakescan as it is (it has no checksum)"
        return None


def _holds(data: bytes, file: CompactFile, run: RunFile) -> bool:
    """Whether a merged file has the run's columns and the number of rows of its index."""
    footer = pq.read_metadata(pa.BufferReader(data))
    return bool(footer.num_rows == file.rows and footer.schema.to_arrow_schema().equals(run.result_schema))
