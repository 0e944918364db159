"""The run folder: run.json, manifest/, parts/, compact/, cache/, lease.json. Who reads or writes a run does it here.

folder = RunFolder("s3://bucket/audit", Store())
run = folder.open()
for shard in folder.shards():
    print(folder.counts_of(shard))
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from numpy.typing import NDArray
from pydantic import ValidationError

from fakescan.run.bulk.listing import PartListing, list_parts
from fakescan.run.bulk.threads import on_threads
from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.parts import PartFacts, Sharding, part_facts, part_name
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import read_sealed
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.local_files import remove_abandoned
from fakescan.storage.objects import PATIENCE_S, list_names, put_atomic, read_bytes
from fakescan.storage.store import Store, is_local
from fakescan.storage.url import redact
from fakevlm.errors import UserError

TRUST_LIST = "trust-list.pem"
"""Name of the run's copy of the list that signers are checked against."""
_FOOTER_BYTES = 65536
"""Bytes read at once from the end of a part: its footer, in one request."""
_READERS = 16
_AHEAD = 4


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

    def remove_abandoned(self) -> int:
        """Remove what writers that were killed have left unfinished; returns how many files.

        Only folders have such files: an object store takes an object whole or not at all.
        """
        return remove_abandoned(self.path) if is_local(self.fs) else 0

    def manifest(self, run: RunFile) -> ManifestReader:
        """A reader of the run's manifest."""
        return ManifestReader(f"{self.url}/{run.manifest}", self.store)

    def part_names(self) -> list[str]:
        """Names of everything in the folder of parts, by one fresh listing."""
        return [name for name, _ in list_names(self.fs, self.parts, patience_s=self.patience_s)]

    def shards(self) -> list[int]:
        """Shards whose part exists, ascending, by one fresh listing."""
        return [int(shard) for shard in self.listing().shards]

    def listing(self) -> PartListing:
        """The parts that exist, by one fresh listing, with the size and version of each."""
        return list_parts(self.fs, self.parts, patience_s=self.patience_s)

    def missing(self, sharding: Sharding) -> NDArray[np.int64]:
        """Shards without a part, ascending, by one fresh listing; one byte of memory per shard while it counts."""
        absent = np.ones(sharding.count, dtype=bool)
        absent[self.listing().below(sharding.count).shards] = False
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
        with contextlib.suppress(FileNotFoundError):
            end = self._end_of(shard)
            with contextlib.suppress(Exception):  # a damaged footer leads anywhere
                return Counts.from_json(pq.read_metadata(pa.BufferReader(end)).metadata[COUNTS_KEY])
        raise UserError(
            f"run: parts/{part_name(shard)} of {redact(self.url)} is damaged; delete it and scan again "
            "(see fakescan verify)"
        )

    def _end_of(self, shard: int) -> bytes:
        """The end of a part, with its whole footer: one request for a footer of usual size."""
        with self.fs.open(self.part(shard), "rb", block_size=_FOOTER_BYTES) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _FOOTER_BYTES))
            end = bytes(file.read())
            needed = int.from_bytes(end[-8:-4], "little") + 8
            if len(end) < needed <= size:
                file.seek(size - needed)
                end = bytes(file.read())
            return end

    def facts_of(self, run: RunFile, shard: int) -> PartFacts | None:
        """The facts of a part; None for one that is missing, damaged or does not hold the shard's rows."""
        data = self.part_data(shard)
        if data is None:
            return None
        return part_facts(data, run.sharding, shard, sealed=run.schema_version != "1")

    def facts(self, run: RunFile, shards: Iterable[int]) -> Iterator[PartFacts | None]:
        """The facts of parts, in the order of the shards; several parts are read at once."""
        return on_threads(lambda shard: self.facts_of(run, shard), shards, threads=_READERS)

    def counts(self, shards: Iterable[int]) -> Iterator[Counts]:
        """The counts of parts, in the order of the shards; several footers are read at once."""
        return on_threads(self.counts_of, shards, threads=_READERS)

    def rows(self, run: RunFile, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a finished run in order. Raises UserError for a part that is missing or damaged."""
        return pa.concat_tables(table for _, table in self.tables(range(run.sharding.count), columns))

    def tables(self, shards: Iterable[int], columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Each shard with its rows, a few parts read ahead. Raises UserError for a part that is missing or damaged."""
        return on_threads(lambda shard: (shard, self.whole_part(shard, columns)), shards, threads=_AHEAD)

    def whole_part(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """A shard's rows. Raises UserError for a part that is missing or damaged."""
        try:
            table = self.read_part(shard, columns)
        except pa.ArrowInvalid as error:
            raise UserError(f"run: {part_name(shard)} of {redact(self.url)} is damaged: {error}") from None
        if table is None:
            raise UserError(f"run: {part_name(shard)} of {redact(self.url)} is missing; scan again to complete it")
        return table

    def _read(self, name: str) -> bytes:
        return read_bytes(self.fs, f"{self.path}/{name}", patience_s=self.patience_s)
