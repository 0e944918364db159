"""The run folder: run.json, manifest/, parts/, compact/, lease.json. Whoever reads or writes a run does it here.

folder = RunFolder("s3://bucket/audit", Store())
run = folder.open()
for shard in folder.shards():
    print(folder.counts_of(shard))
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from numpy.typing import NDArray
from pydantic import ValidationError

from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.parts import PartFacts, Sharding, part_facts, part_name, part_shard
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import read_sealed
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.objects import PATIENCE_S, list_names, put_atomic, read_bytes
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

_FOOTER_BYTES = 65536
"""Bytes read at once from the end of a part: its footer, in one request."""
_READERS = 16

Read = TypeVar("Read")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, wherever it is. Pickles without what it has opened."""

    url: str
    store: Store
    patience_s: float = PATIENCE_S
    """How long reading outlasts a store that is away, in seconds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __reduce__(self) -> tuple[type["RunFolder"], tuple[str, Store, float]]:
        return RunFolder, (self.url, self.store, self.patience_s)

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        return self.store.filesystem(self.url, attempts=3 if self.patience_s else 1)

    @property
    def fs(self) -> AbstractFileSystem:
        """The file system that the folder is in."""
        return self._place[0]

    @property
    def path(self) -> str:
        """The folder's path in it."""
        return self._place[1]

    @property
    def parts(self) -> str:
        """Path of the folder of parts."""
        return f"{self.path}/parts"

    def part(self, shard: int) -> str:
        """Path of a shard's part."""
        return f"{self.parts}/{part_name(shard)}"

    def load(self) -> RunFile | None:
        """The run's file, or None where no run has been started."""
        try:
            return RunFile.model_validate_json(self._read("run.json"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError:
            raise UserError(
                f"output: {redact(self.url)}/run.json is not a run of this version of fakescan; use another --output"
            ) from None

    def open(self) -> RunFile:
        """The run's file. Raises UserError where there is none."""
        run = self.load()
        if run is None:
            raise UserError(f"run: {redact(self.url)} holds no run (run.json is missing)")
        return run

    def save(self, run: RunFile) -> None:
        """Write run.json."""
        put_atomic(self.fs, f"{self.path}/run.json", run.model_dump_json(indent=2).encode())

    def forget(self) -> None:
        """Remove run.json, so that the next start begins anew; for a run that has no part yet."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.path}/run.json")

    def manifest(self, run: RunFile) -> ManifestReader:
        """A reader of the run's manifest."""
        return ManifestReader(f"{self.url}/{run.manifest}", self.store)

    def part_names(self) -> list[str]:
        """Names of everything in the folder of parts, by one fresh listing."""
        return [name for name, _ in list_names(self.fs, self.parts, patience_s=self.patience_s)]

    def shards(self) -> list[int]:
        """Shards whose part exists, ascending, by one fresh listing."""
        return [shard for name in self.part_names() if (shard := part_shard(name)) is not None]

    def missing(self, sharding: Sharding) -> NDArray[np.int64]:
        """Shards without a part, ascending, by one fresh listing; one byte of memory per shard while it counts."""
        absent = np.ones(sharding.count, dtype=bool)
        absent[[shard for shard in self.shards() if shard < sharding.count]] = False
        return np.flatnonzero(absent)

    def read_part(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table | None:
        """A shard's rows, or None where it has no part. Raises pyarrow's ArrowInvalid for a damaged one."""
        data = self.part_data(shard)
        return None if data is None else read_sealed(data, columns)

    def part_data(self, shard: int) -> bytes | None:
        """A shard's part as it is, or None where it has none."""
        try:
            return self._read(f"parts/{part_name(shard)}")
        except FileNotFoundError:
            return None

    def write_part(self, shard: int, data: bytes) -> None:
        """Write a shard's part, which `fakescan.run.parts.part_bytes` makes, by one atomic PUT."""
        put_atomic(self.fs, self.part(shard), data)

    def counts_of(self, shard: int) -> Counts:
        """A part's counts, from its footer. Raises UserError for a part that is damaged."""
        try:
            with self.fs.open(self.part(shard), "rb", block_size=_FOOTER_BYTES) as file:
                metadata = pq.read_metadata(file).metadata or {}
            return Counts.from_json(metadata[COUNTS_KEY])
        except (pa.ArrowInvalid, KeyError, FileNotFoundError):
            raise UserError(
                f"run: parts/{part_name(shard)} of {redact(self.url)} is damaged; delete it and scan again "
                "(see fakescan verify)"
            ) from None

    def facts_of(self, run: RunFile, shard: int) -> PartFacts | None:
        """The facts of a part; None for one that is missing, damaged or does not hold the shard's rows."""
        data = self.part_data(shard)
        if data is None:
            return None
        return part_facts(data, run.sharding, shard, sealed=run.schema_version != "1")

    def facts(self, run: RunFile, shards: Sequence[int]) -> Iterator[PartFacts | None]:
        """The facts of parts, in the order of the shards; several parts are read at once."""
        return self._at_once(lambda shard: self.facts_of(run, shard), shards)

    def counts(self, shards: Sequence[int]) -> Iterator[Counts]:
        """The counts of parts, in the order of the shards; several footers are read at once."""
        return self._at_once(self.counts_of, shards)

    def _at_once(self, read: Callable[[int], Read], shards: Sequence[int]) -> Iterator[Read]:
        with ThreadPoolExecutor(_READERS, thread_name_prefix="fakescan-footers") as pool:
            try:
                yield from pool.map(read, shards)
            except BaseException:
                pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait until a million footers are read
                raise

    def rows(self, run: RunFile, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a finished run in order. Raises UserError for a part that is missing or damaged."""
        return pa.concat_tables(table for _, table in self.tables(range(run.sharding.count), columns))

    def tables(self, shards: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Each shard with its rows. Raises UserError for a part that is missing or damaged."""
        for shard in shards:
            try:
                table = self.read_part(shard, columns)
            except pa.ArrowInvalid as error:
                raise UserError(f"run: {part_name(shard)} of {redact(self.url)} is damaged: {error}") from None
            if table is None:
                raise UserError(f"run: {part_name(shard)} of {redact(self.url)} is missing; scan again to complete it")
            yield shard, table

    def _read(self, name: str) -> bytes:
        return read_bytes(self.fs, f"{self.path}/{name}", patience_s=self.patience_s)
