"""A run's `cache/`: facts of parts that need not be read again. It may be deleted at any time, and is never believed
about a part whose size or version is another one now.

Each file is sealed and names its run. What is damaged, foreign or of another version is left alone, and logged. Nobody
waits for the cache or fails because of it: a store that takes no writes has none.
"""

import json
import logging
import time
import uuid
from contextlib import suppress
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fakevlm
from fakescan.run.bulk.listing import UNKNOWN, PartListing
from fakescan.run.facts.table import EARLIER_FACTS_SCHEMA, FACTS_SCHEMA, ReadFacts, facts_table, failed_in
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import Seal, parquet_bytes, read_parquet, seal_of
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.url import redact

logger = logging.getLogger(__name__)

_KEY = b"fakescan.cache"
_FLUSH_PARTS = 16_384
_FLUSH_S = 30.0
"""Parts and seconds after which what was added is written."""
_MAX_FILES = 32
"""Files from which on they are made one."""
_PATIENCE_S = 10.0


class Kind(StrEnum):
    """What the parts in a file have been through."""

    COUNTS = "counts"
    """They were whole when they were read or written: their seals were intact."""
    PROOF = "proof"
    """`verify` has found nothing wrong with them, and was interrupted before it had seen all."""


class FactsCache:
    """The cache of one run, of one kind."""

    def __init__(self, folder: RunFolder, run: RunFile, kind: Kind) -> None:
        self._folder, self._kind = folder, kind
        self._sharding = run.sharding
        self._path = f"{folder.path}/cache"
        self._metadata = {_KEY.decode(): _of_run(run, kind)}
        self._is_earlier = not run.has_provenance_columns
        self._waiting: list[pa.Table] = []
        self._waiting_parts = 0
        self._single: list[ReadFacts] = []
        self._flushed_at = time.monotonic()
        self._is_writable = True
        self._files: list[str] = []
        """Names of what `load` has read."""
        self._is_wider = False
        """Whether these have parts that the listing had not: of other slices of the run."""
        self.since: float | None = None
        """Unix time of the oldest file that `load` took something from, where the files' footers say."""

    def load(self, listing: PartListing, *, max_age_s: float | None = None) -> pa.Table:
        """The facts that are known of the listing's parts as they are now, at most one row each, by ascending shard.

        Files that were written longer ago than `max_age_s` are left out.
        """
        missing = np.ones(len(listing), bool)
        tables = [FACTS_SCHEMA.empty_table()]
        now = time.time()
        for name in self._names():
            found = self._read(name)
            if found is None:
                continue
            self._files.append(name)
            table, written_at = found
            if max_age_s is not None and not 0 <= now - written_at < max_age_s:
                continue
            places = self._matching(table, listing)
            self._is_wider |= bool((listing.places_of(table["shard"].to_numpy()) < 0).any())
            # A part may be in several files, and a file be full of one part.
            taken = np.flatnonzero(places >= 0)
            taken = taken[missing[places[taken]]]
            _, first = np.unique(places[taken], return_index=True)
            taken = taken[first]
            missing[places[taken]] = False
            if len(taken):
                tables.append(table.take(pa.array(taken)))
                self.since = min(written_at, self.since or written_at)
        whole = pa.concat_tables(tables).sort_by("shard").combine_chunks()
        if self._kind is Kind.COUNTS:
            logger.info("the facts of %s of %s parts are in the cache", f"{len(whole):,}", f"{len(listing):,}")
        return whole

    def add(self, table: pa.Table) -> None:
        """Keep the facts of parts; those whose version nobody knows are left out. Written now and then."""
        known = table.filter(pa.array(table["stamp"].to_numpy() != UNKNOWN))
        if known.num_rows and self._is_writable:
            self._waiting.append(known)
            self._waiting_parts += known.num_rows
        if self._waiting_parts >= _FLUSH_PARTS or time.monotonic() - self._flushed_at >= _FLUSH_S:
            self.flush()

    def add_part(self, part: ReadFacts) -> None:
        """The same for parts that come one by one."""
        self._single.append(part)
        if len(self._single) >= _FLUSH_PARTS or time.monotonic() - self._flushed_at >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        single, self._single = self._single, []
        if single:
            self.add(facts_table(single))
        if self._waiting:
            self._write(pa.concat_tables(self._waiting).sort_by("shard"))
        self._waiting, self._waiting_parts = [], 0
        self._flushed_at = time.monotonic()

    def tidy(self, table: pa.Table) -> None:
        """Where `load` has read many files, write its table as one in their place."""
        if len(self._files) > _MAX_FILES and not self._is_wider and self._write(table):
            self._remove(self._files)
            self._files = []

    def clear(self) -> None:
        """Remove every file of this kind, of whatever run."""
        self._waiting, self._waiting_parts = [], 0
        self._remove(self._names())

    def _names(self) -> list[str]:
        try:
            found = list_names(self._folder.fs, self._path, patience_s=_PATIENCE_S)
        except store_errors() as error:
            logger.info("the cache cannot be listed: %s", classify(error)[1])
            return []
        return [name for name, _ in found if name.startswith(f"{self._kind}-") and name.endswith(".parquet")]

    def _read(self, name: str) -> tuple[pa.Table, float] | None:
        """The rows of a file and the Unix time when it was written; None for one that is not to be believed."""
        try:
            data = read_bytes(self._folder.fs, f"{self._path}/{name}", patience_s=_PATIENCE_S)
            if seal_of(data) is not Seal.INTACT:
                raise pa.ArrowInvalid("it is not as it was written")
            metadata = pq.read_metadata(pa.BufferReader(data)).metadata
            if metadata.get(_KEY, b"").decode() != self._metadata[_KEY.decode()]:
                raise pa.ArrowInvalid("it belongs to another run or version")
            table = read_parquet(data)
            if self._is_earlier and table.schema.equals(EARLIER_FACTS_SCHEMA):
                table = table.append_column(FACTS_SCHEMA.field("provenance"), pa.array([""] * len(table)))
            if not table.schema.equals(FACTS_SCHEMA):
                raise pa.ArrowInvalid("it has other columns")
            failed_in(table)  # raises where it cannot be read
            return table.combine_chunks(), float(metadata[b"fakescan.written_at"])
        except Exception as error:  # noqa: BLE001 - whatever is in the file or with it, the parts themselves are read
            logger.info("cache/%s of %s is ignored: %s", name, redact(self._folder.url), error)
            return None

    def _matching(self, table: pa.Table, listing: PartListing) -> np.typing.NDArray[np.int64]:
        """For each row the place of its part in the listing; -1 where the part is another one now."""
        shards, sizes, stamps, rows = (table[name].to_numpy() for name in ("shard", "size", "stamp", "rows"))
        places = listing.places_of(shards)
        if not len(listing) or not len(table):
            return np.full(len(table), -1, np.int64)
        per_shard, count = self._sharding.shard_rows, self._sharding.count
        whole = np.where(shards == count - 1, self._sharding.rows - per_shard * (count - 1), per_shard)
        sums = sum(table[name].to_numpy() for name in ("real", "fake", "uncertain")) + failed_in(table)
        whole = np.where(rows == sums, whole, -1)
        same = (listing.sizes[places] == sizes) & (listing.stamps[places] == stamps) & (stamps != UNKNOWN)
        return np.where((places >= 0) & same & (rows == whole), places, -1)

    def _write(self, table: pa.Table) -> bool:
        if not self._is_writable:
            return False
        metadata = {**self._metadata, "fakescan.written_at": repr(time.time())}
        try:
            data = parquet_bytes([table], FACTS_SCHEMA, metadata)
            put_atomic(self._folder.fs, f"{self._path}/{self._kind}-{uuid.uuid4().hex}.parquet", data)
        except store_errors() as error:
            self._is_writable = False
            logger.info("the cache of %s cannot be written: %s", redact(self._folder.url), classify(error)[1])
        return self._is_writable

    def _remove(self, names: list[str]) -> None:
        for name in names:
            path = f"{self._path}/{name}"
            try:
                self._folder.fs.rm_file(path)
            except FileNotFoundError:
                continue
            except store_errors():  # some may write and not delete
                with suppress(*store_errors()):
                    put_atomic(self._folder.fs, path, b"")


def _of_run(run: RunFile, kind: Kind) -> str:
    """What a file must have been written for."""
    facts: dict[str, object] = {
        "kind": str(kind),
        "run": run.run_id,
        "manifest": run.manifest_fingerprint,
        "rows": run.rows,
        "shard_rows": run.shard_rows,
    }
    if kind is Kind.PROOF:  # another version may look closer
        facts["version"] = fakevlm.__version__
        facts["ask"] = run.identity.ask.model_dump(mode="json")
    return json.dumps(facts, sort_keys=True)
