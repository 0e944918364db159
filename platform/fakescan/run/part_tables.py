"""The rows of a run's parts in order: several parts are read at once, and few are in memory."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from fakescan.errors import JobFailedError
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.run_file import RunFile
from fakescan.run.schema import KEPT, result_schema
from fakescan.storage.errors import classify, is_transient, store_errors
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import UserError, one_line

_READERS = 8
_AHEAD = 32
"""Parts that are read or wait to be taken."""


@dataclass(frozen=True, slots=True)
class PartTable:
    """The rows of a part, with the columns asked for as `ALL_COLUMNS` types them; absent ones are null.

    Without any asked for, they are those of `RESULT_SCHEMA`, and of the strip where the run has one.
    """

    shard: int
    table: pa.Table


@dataclass(frozen=True, slots=True)
class UnreadablePart:
    """A part that is there and whose rows cannot be had."""

    name: str
    """Such as `parts/part-00000003.parquet`."""
    reason: str
    """One line."""
    rows: int
    """Rows that it should hold."""


def part_tables(
    folder: RunFolder,
    run: RunFile,
    shards: Iterable[int],
    columns: Sequence[str] | None = None,
    kept: Sequence[str] = (),
) -> Iterator[PartTable | UnreadablePart]:
    """The parts of shards, in their order. Raises JobFailedError where the store fails and not a part.

    `kept`: columns of the user's list that the tables have as well, with `KEPT` before their names.
    """
    pending: deque[Future[PartTable | UnreadablePart]] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="fakescan-parts")
    try:
        for shard in shards:
            pending.append(pool.submit(_read, folder, run, shard, columns, kept))
            if len(pending) == _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def whole_tables(
    folder: RunFolder,
    run: RunFile,
    shards: Iterable[int],
    columns: Sequence[str] | None = None,
    *,
    error: type[Exception] = UserError,
) -> Iterator[pa.Table]:
    """The rows of each part, for what must leave none out. Raises `error` at one that cannot be read, in one line."""
    for part in part_tables(folder, run, shards, columns):
        if not isinstance(part, PartTable):
            raise error(f"run: {part.name} of {redact(folder.url)} {part.reason}; see fakescan verify")
        yield part.table


def _read(
    folder: RunFolder, run: RunFile, shard: int, columns: Sequence[str] | None, kept: Sequence[str]
) -> PartTable | UnreadablePart:
    name, rows = f"parts/{part_name(shard)}", run.sharding.size(shard)
    try:
        table = folder.read_part(shard, None if columns is None else [*columns, *kept])
        if table is None:
            return UnreadablePart(name, "is missing", rows)
        if table.num_rows != rows:
            return UnreadablePart(name, f"holds {table.num_rows} rows, not {rows}", rows)
        return PartTable(shard, _conformed(table, run, columns, kept))
    except UserError as error:
        return UnreadablePart(name, one_line(error), rows)
    except (pa.ArrowException, *store_errors()) as error:
        if not isinstance(error, pa.ArrowException) and is_transient(error):  # Arrow's are of damaged bytes
            raise JobFailedError(f"cannot read {name} of {redact(folder.url)}: {classify(error)[1]}") from error
        return UnreadablePart(name, f"cannot be read: {redact_text(str(error))}", rows)


def _conformed(table: pa.Table, run: RunFile, columns: Sequence[str] | None, kept: Sequence[str]) -> pa.Table:
    schema = result_schema(strip=run.strip.is_on or columns is not None)
    fields = [field for field in schema if columns is None or field.name in columns]
    there = {*result_schema(run.schema_version, strip=run.strip.is_on).names} & {*table.column_names}
    arrays = [
        table[field.name].cast(field.type) if field.name in there else pa.nulls(table.num_rows, field.type)
        for field in fields
    ]
    fields += [pa.field(f"{KEPT}{name}", pa.string()) for name in kept]
    arrays += [table[name] for name in kept]
    return pa.table(arrays, schema=pa.schema([field.with_nullable(True) for field in fields]))
