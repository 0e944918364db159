"""Checks that a run accounts for every row of its manifest exactly once."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name, part_shard
from fakescan.run.run_file import RunFile
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import ErrorCode, UserError, one_line
from fakevlm.verdict import Verdict

_READERS = 8


@dataclass
class Verification:
    """Result of a check of a run folder."""

    counts: Counts = field(default_factory=Counts)
    problems: list[str] = field(default_factory=list)
    """One line each; empty when every row is accounted for once."""


def verify(folder: RunFolder) -> Verification:
    """Read the manifest and every part. Raises UserError where there is no run."""
    run = folder.open()
    found = Verification()
    reader = folder.manifest()
    info = reader.info
    if (info.fingerprint, info.rows) != (run.manifest_fingerprint, run.rows):
        found.problems.append("the manifest is not the one that the run was started with")
        return found
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
            raise UserError(f"run: the manifest in {redact(folder.url)} cannot be read: {error}") from None
    return found


class _LostManifestError(Exception):
    """A file of the manifest is gone or damaged: no part can be checked."""


def _named_shards(folder: RunFolder, run: RunFile, found: Verification) -> Iterator[int]:
    """Shards whose part is there; what is missing or does not belong becomes a problem."""
    present: Counter[int] = Counter()
    for name in folder.part_names():
        shard = part_shard(name)
        if shard is None:
            if not (name.startswith(".") and name.endswith(".tmp")):
                found.problems.append(f"parts/{name} is not a part of this run")
        elif shard >= run.sharding.count:
            found.problems.append(f"parts/{name} is beyond the last part, {part_name(run.sharding.count - 1)}")
        else:
            present[shard] += 1
    for shard in range(run.sharding.count):
        if present[shard]:
            yield shard
        else:
            found.problems.append(f"parts/{part_name(shard)} is missing: {run.sharding.size(shard)} rows are not done")


def _check_part(
    folder: RunFolder, reader: ManifestReader, run: RunFile, shard: int
) -> tuple[str | None, Counts | None]:
    name = f"parts/{part_name(shard)}"
    try:
        part = folder.read_part(shard)
    except (pa.ArrowInvalid, OSError) as error:
        return f"{name} cannot be read: {one_line(error)}", None
    if part is None:
        return f"{name} is missing", None
    if not part.schema.equals(RESULT_SCHEMA):
        return f"{name} has other columns than this version's results", None
    sharding = run.sharding
    try:
        rows = reader.rows(sharding.first(shard), sharding.size(shard))
    except (pa.ArrowInvalid, OSError) as error:
        raise _LostManifestError(redact_text(str(error))) from error
    if not part["row_id"].equals(rows["row_id"]):
        return f"{name} does not hold rows {sharding.first(shard)} to {sharding.first(shard) + len(rows) - 1}", None
    if part["uri"].to_pylist() != [redact(uri) for uri in rows["uri"].to_pylist()]:
        return f"{name} holds other images than the manifest's", None
    if set(part["run_id"].unique().to_pylist()) != {run.run_id}:
        return f"{name} comes from another run", None
    bad = pc.sum(pc.equal(pc.is_valid(part["verdict"]), pc.is_valid(part["error_code"]))).as_py()
    if bad:
        return f"{name} has {bad} rows with neither or both of verdict and error", None
    strange = set(part["verdict"].unique().to_pylist()) - {None} - {str(verdict) for verdict in Verdict}
    if strange:
        return f"{name} has unknown verdicts: {', '.join(sorted(strange))}", None
    unknown = set(part["error_code"].unique().to_pylist()) - {None} - {str(code) for code in ErrorCode}
    if unknown:
        return f"{name} has unknown error codes: {', '.join(sorted(unknown))}", None
    return None, Counts.of(part)
