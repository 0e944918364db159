"""Proves that a run accounts for every row of its manifest exactly once, and that nothing in it was changed.

All parts are read whole. A call that is interrupted leaves in the run's cache which parts it has proved; the next one
reads the others, and those that have changed since.
"""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from fakescan.run.bulk.listing import UNKNOWN, PartListing
from fakescan.run.bulk.threads import on_threads
from fakescan.run.bulk.workers import BATCH_PARTS, HERE, Workers
from fakescan.run.compact import check_compact
from fakescan.run.counts import Counts
from fakescan.run.facts.cache import FactsCache, Kind
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.facts.table import ReadFacts, counts_in, facts_table
from fakescan.run.folder import RunFolder
from fakescan.run.part_check import content_problem
from fakescan.run.parts import footer_facts, part_name
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import Seal, read_parquet, seal_of
from fakescan.sources.manifest import ManifestReader, fingerprinted_bytes
from fakescan.storage.errors import is_transient
from fakescan.storage.store import is_local
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import UserError, one_line

PROOF_S = 24 * 3600.0
"""Seconds for which an interrupted call's proofs count: a file can decay without its time or size telling."""
_READERS = 8
_FINGERPRINT_READERS = 4

_manifests: dict[tuple[str, str, str], ManifestReader] = {}
"""This process's reader of the last run's manifest, by its place and fingerprint."""


@dataclass
class Verification:
    """Result of a check of a run folder."""

    counts: Counts = field(default_factory=Counts)
    """Rows of the parts that are sound."""
    problems: list[str] = field(default_factory=list)
    """One line each; empty when every row is accounted for once, and all is as it was written."""
    continued: int = 0
    """Parts that an interrupted call had proved; they were not read again."""
    since: datetime | None = None
    """When the first of those were proved."""


def verify(
    folder: RunFolder,
    *,
    workers: Workers = HERE,
    from_start: bool = False,
    on_parts: OnParts = nobody,
    on_known: OnParts = nobody,
) -> Verification:
    """Read the manifest, every part and the compact files. Raises UserError where there is no run.

    Parts that an interrupted call has proved, at most a day ago, and whose size and version are still the same are not
    read again, unless `from_start`. `on_parts` is told of parts that are checked, `on_known` of those that were.
    """
    run = folder.open()
    found = Verification()
    info = folder.manifest(run).info
    if (info.fingerprint, info.rows) != (run.manifest_fingerprint, run.rows):
        found.problems.append("the manifest is not the one that the run was started with")
        return found
    proof = FactsCache(folder, run, Kind.PROOF)
    if from_start:
        proof.clear()
    with _Fingerprint(folder, run) as fingerprint:
        if not workers.use_ray(run.sharding.count) and not fingerprint.is_right():
            return Verification(problems=[_OTHER_ROWS])
        listing = folder.listing()
        found.problems += _misplaced(run, listing)
        listing = listing.below(run.sharding.count)
        known = proof.load(listing, max_age_s=0.0 if from_start else PROOF_S)
        found.continued = len(known)
        found.since = datetime.fromtimestamp(proof.since, UTC) if proof.since is not None else None
        on_known(len(known))
        facts, problems = _prove_parts(folder, run, listing, known, proof, workers, on_parts)
        found.problems += problems
        if not fingerprint.is_right():
            return Verification(problems=[_OTHER_ROWS])
    found.counts = counts_in(facts)
    if not found.problems:
        found.problems += check_compact(folder, run, facts, workers)
    proof.clear()  # the next call is a new one
    return found


_OTHER_ROWS = "the manifest was changed after it was written: its rows have another fingerprint"


class _Fingerprint:
    """Computes the fingerprint of the manifest's rows on a thread of its own, since it cannot be cut into batches."""

    def __init__(self, folder: RunFolder, run: RunFile) -> None:
        self._folder, self._run = folder, run
        self._stopped = threading.Event()
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fakescan-fingerprint")

    def __enter__(self) -> "_Fingerprint":
        self._computed = self._pool.submit(self._compute)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def is_right(self) -> bool:
        """Whether the rows are those that the run was started with. Raises UserError where they cannot be read."""
        try:
            return self._computed.result() == self._run.manifest_fingerprint
        except (pa.ArrowInvalid, OSError) as error:
            raise _lost_manifest(self._folder, error) from None

    def _compute(self) -> str:
        """Only the hash itself has to be computed in the order of the rows."""
        info = self._folder.manifest(self._run).info
        firsts = range(0, info.rows, info.row_group_rows)
        digest = hashlib.sha256()
        with closing(on_threads(self._pieces, firsts, threads=_FINGERPRINT_READERS)) as groups:
            for pieces in groups:
                if self._stopped.is_set():
                    break
                for piece in pieces:
                    digest.update(piece)
        return digest.hexdigest()

    def _pieces(self, first: int) -> list[memoryview]:
        """What of the row group from row `first` on goes into the fingerprint. Each thread has its own open file."""
        reader: ManifestReader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = self._folder.manifest(self._run)
        info = reader.info
        return list(fingerprinted_bytes(reader.rows(first, min(info.row_group_rows, info.rows - first))))


def _lost_manifest(folder: RunFolder, error: Exception) -> UserError:
    return UserError(f"run: the manifest in {redact(folder.url)} cannot be read: {redact_text(one_line(error))}")


def _misplaced(run: RunFile, listing: PartListing) -> list[str]:
    """What is missing among the parts, and what does not belong to them."""
    sharding, problems = run.sharding, []
    for name in listing.strangers:
        if not (name.startswith(".") and name.endswith(".tmp")):
            problems.append(f"parts/{name} is not a part of this run")
    for shard in listing.shards[len(listing.below(sharding.count)) :].tolist():
        problems.append(f"parts/{part_name(shard)} is beyond the last part, {part_name(sharding.count - 1)}")
    absent = np.ones(sharding.count, bool)
    absent[listing.below(sharding.count).shards] = False
    missing = np.flatnonzero(absent)
    if len(missing):
        last_is_missing = bool(absent[-1])
        rows = len(missing) * sharding.shard_rows
        if last_is_missing:
            rows += sharding.size(sharding.count - 1) - sharding.shard_rows
        more = f" and {len(missing) - 1:,} more parts are" if len(missing) > 2 else " and one more part are"
        problems.append(
            f"unfinished: {run.rows - rows:,} of {run.rows:,} rows are done; parts/{part_name(int(missing[0]))}"
            f"{more if len(missing) > 1 else ' is'} missing: the same scan command resumes it"
        )
    return problems


def _prove_parts(
    folder: RunFolder,
    run: RunFile,
    listing: PartListing,
    known: pa.Table,
    proof: FactsCache,
    workers: Workers,
    on_parts: OnParts,
) -> tuple[pa.Table, list[str]]:
    """The facts of parts with which nothing is wrong, the known ones among them, and a line for each other one."""
    unproved = np.ones(len(listing), bool)
    unproved[listing.places_of(known["shard"].to_numpy())] = False
    rest, tables, problems = listing.at(unproved), [known], list[str]()
    work = _Prove(RunFolder(folder.url, folder.store.resolved(), folder.patience_s), run)
    try:
        with closing(workers.each(work, rest.batches(BATCH_PARTS), parts=len(rest), url=folder.url)) as batches:
            for facts, lines, parts in batches:
                tables.append(facts)
                problems += lines
                proof.add(facts)
                on_parts(parts)
    except BaseException:  # Ctrl-C among them: the next call goes on from here
        proof.flush()
        raise
    return pa.concat_tables(tables).sort_by("shard").combine_chunks(), problems


@dataclass(frozen=True)
class _Prove:
    """Checks a batch of parts: the facts of the sound ones, a line for each other one, and how many they are."""

    folder: RunFolder
    run: RunFile

    def __call__(self, batch: PartListing) -> tuple[pa.Table, list[str], int]:
        parts = zip(batch.shards.tolist(), batch.sizes.tolist(), batch.stamps.tolist(), strict=True)
        results = list(on_threads(self._check, parts, threads=1 if is_local(self.folder.fs) else _READERS))
        problems = [result for result in results if isinstance(result, str)]
        return facts_table(result for result in results if isinstance(result, ReadFacts)), problems, len(batch)

    def _check(self, part: tuple[int, int, int]) -> ReadFacts | str:
        shard, size, stamp = part
        name, run, sharding = f"parts/{part_name(shard)}", self.run, self.run.sharding
        try:
            rows = self._manifest().rows(sharding.first(shard), sharding.size(shard))
        except (pa.ArrowInvalid, OSError) as error:
            raise _lost_manifest(self.folder, error) from None
        try:
            data = self.folder.part_data(shard)
        except OSError as error:
            if not is_local(self.folder.fs) and is_transient(error):  # the store's fault, and no part's
                raise
            return f"{name} cannot be read: {redact_text(one_line(error))}"
        if data is None:
            return f"{name} is missing"
        seal = seal_of(data)
        if seal is Seal.BROKEN:  # and may be anything: it is not even opened
            return f"{name} was changed after it was written (its checksum is wrong)"
        try:
            table = read_parquet(data)
        except pa.ArrowInvalid as error:
            return f"{name} cannot be read: {one_line(error)}"
        if problem := content_problem(table, rows, run, shard):
            return f"{name} {problem}"
        if seal is Seal.MISSING and run.schema_version != "1":
            return f"{name} was not written by fakescan as it is (it has no checksum)"
        facts = footer_facts(data, sharding, shard)
        if facts is None or facts.counts != Counts.of(table):
            return f"{name} has a footer that does not fit its rows"
        return ReadFacts(shard, len(data), stamp if len(data) == size else UNKNOWN, facts)

    def _manifest(self) -> ManifestReader:
        """This process's reader of the run's manifest."""
        key = self.folder.url, self.run.manifest, self.run.manifest_fingerprint
        if key not in _manifests:
            _manifests.clear()
            _manifests[key] = self.folder.manifest(self.run)
        return _manifests[key]
