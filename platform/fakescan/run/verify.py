"""Proves that a run accounts for every row of its manifest exactly once, and that nothing in it was changed."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from fakescan.run.compact import check_compact
from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.part_check import content_problem
from fakescan.run.parts import footer_facts, part_name, part_shard
from fakescan.run.run_file import RunFile
from fakescan.run.sealed_parquet import Seal, read_parquet, seal_of
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import UserError, one_line

_READERS = 8


@dataclass
class Verification:
    """Result of a check of a run folder."""

    counts: Counts = field(default_factory=Counts)
    """Rows of the parts that are sound."""
    problems: list[str] = field(default_factory=list)
    """One line each; empty when every row is accounted for once, and all is as it was written."""


def verify(folder: RunFolder) -> Verification:
    """Read the manifest, every part and the compact files. Raises UserError where there is no run."""
    run = folder.open()
    found = Verification()
    reader = folder.manifest(run)
    info = reader.info
    if (info.fingerprint, info.rows) != (run.manifest_fingerprint, run.rows):
        found.problems.append("the manifest is not the one that the run was started with")
        return found
    try:
        if reader.compute_fingerprint() != run.manifest_fingerprint:
            found.problems.append("the manifest was changed after it was written: its rows have another fingerprint")
            return found
    except (pa.ArrowInvalid, OSError) as error:
        raise _lost_manifest(folder, error) from None
    shards = list(_named_shards(folder, run, found))
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            for problem, counts in pool.map(lambda shard: _check_part(folder, reader, run, shard), shards):
                if problem is not None:
                    found.problems.append(problem)
                if counts is not None:
                    found.counts.add(counts)
        except _LostManifestError as error:
            pool.shutdown(cancel_futures=True)
            raise _lost_manifest(folder, error) from None
    if not found.problems:
        found.problems += check_compact(folder, run)
    return found


class _LostManifestError(Exception):
    """A file of the manifest is gone or damaged: no part can be checked."""


def _lost_manifest(folder: RunFolder, error: Exception) -> UserError:
    return UserError(f"run: the manifest in {redact(folder.url)} cannot be read: {redact_text(one_line(error))}")


def _named_shards(folder: RunFolder, run: RunFile, found: Verification) -> Iterator[int]:
    """Shards whose part is there; what is missing or does not belong becomes a problem."""
    present: Counter[int] = Counter()
    sharding = run.sharding
    for name in folder.part_names():
        shard = part_shard(name)
        if shard is None:
            if not (name.startswith(".") and name.endswith(".tmp")):
                found.problems.append(f"parts/{name} is not a part of this run")
        elif shard >= sharding.count:
            found.problems.append(f"parts/{name} is beyond the last part, {part_name(sharding.count - 1)}")
        else:
            present[shard] += 1
    missing = [shard for shard in range(sharding.count) if not present[shard]]
    if missing:
        done = run.rows - sum(sharding.size(shard) for shard in missing)
        more = f" and {len(missing) - 1:,} more parts are" if len(missing) > 2 else " and one more part are"
        found.problems.append(
            f"unfinished: {done:,} of {run.rows:,} rows are done; parts/{part_name(missing[0])}"
            f"{more if len(missing) > 1 else ' is'} missing: the same scan command resumes it"
        )
    yield from sorted(present)


def _check_part(
    folder: RunFolder, reader: ManifestReader, run: RunFile, shard: int
) -> tuple[str | None, Counts | None]:
    name = f"parts/{part_name(shard)}"
    sharding = run.sharding
    try:
        rows = reader.rows(sharding.first(shard), sharding.size(shard))
    except (pa.ArrowInvalid, OSError) as error:
        raise _LostManifestError(redact_text(str(error))) from error
    try:
        data = folder.part_data(shard)
        if data is None:
            return f"{name} is missing", None
        seal = seal_of(data)
        if seal is Seal.BROKEN:  # and may be anything: it is not even opened
            return f"{name} was changed after it was written (its checksum is wrong)", None
        part = read_parquet(data)
    except (pa.ArrowInvalid, OSError) as error:
        return f"{name} cannot be read: {one_line(error)}", None
    if problem := content_problem(part, rows, run, shard):
        return f"{name} {problem}", None
    if seal is Seal.MISSING and run.schema_version != "1":
        return f"{name} was not written by fakescan as it is (it has no checksum)", None
    counts = Counts.of(part)
    facts = footer_facts(data, sharding, shard)
    if facts is None or facts.counts != counts:
        return f"{name} has a footer that does not fit its rows", None
    return None, counts
