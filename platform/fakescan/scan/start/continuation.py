"""Continues a run of a few images of its source into the whole: what is judged already is not judged again."""

from datetime import UTC, datetime

import pyarrow as pa

from fakescan.run.folder import RunFolder
from fakescan.run.identity import Identity
from fakescan.run.parts import part_bytes, part_name, shard_rows_for
from fakescan.run.run_file import RunFile
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.selection import write_whole_manifest
from fakescan.sources.reading import Listing

_MANIFEST = "manifest-whole"


def begins_whole(run: RunFile, identity: Identity) -> bool:
    """Whether a run is a sample, or the first images, of just what is wanted as a whole."""
    if not run.identity.selection.is_partial or identity.selection.is_partial:
        return False
    whole = run.identity.selection.model_copy(update={"limit": None, "sample": None})
    return run.identity.model_copy(update={"selection": whole}) == run.identity.as_resumed(identity)


def continue_whole(
    config: ScanConfig, folder: RunFolder, run: RunFile, identity: Identity, listing: Listing | None = None
) -> RunFile:
    """The run of the whole source, in the same folder. The caller has the run's lease.

    The images of the sample come first, with their row ids, then the others. run.json is replaced by one write: before
    it the folder holds the sample, after it the whole. Parts are cut anew for the larger number of rows; one that a
    crash leaves in the old cut does not fit its shard any more, and is done again.
    """
    judged = _judged(folder, run)
    info = write_whole_manifest(config, folder, run, _MANIFEST, listing)
    whole = run.model_copy(
        update={
            "identity": run.identity.as_resumed(identity),
            "manifest": _MANIFEST,
            "manifest_fingerprint": info.fingerprint,
            "rows": info.rows,
            "population": info.rows,
            "shard_rows": config.shard_rows or shard_rows_for(info.rows, info.known_bytes, identity.image),
            "seen": info.seen,
            "left_out": info.everything_left_out(),
            "notes": tuple(info.notes),
            "listed_at": info.listed_at or datetime.now(UTC),
        }
    )
    folder.save(whole)
    sharding, written = whole.sharding, 0
    for shard in range(sharding.count):
        first, size = sharding.first(shard), sharding.size(shard)
        rows = judged.slice(first, size)
        if rows.num_rows < size:
            break
        folder.write_part(shard, part_bytes(rows, sharding, shard, whole.result_schema))
        written += 1
    _remove_parts(folder, first=written)
    return whole


def _judged(folder: RunFolder, run: RunFile) -> pa.Table:
    """The rows from the first one on that are done; a sample fits into memory."""
    tables = [run.result_schema.empty_table()]
    for shard in range(run.sharding.count):
        part = folder.read_part(shard) if folder.facts_of(run, shard) is not None else None
        if part is None:
            break
        tables.append(part)
    return pa.concat_tables(tables)


def remove_surplus(folder: RunFolder, run: RunFile) -> None:
    """Remove parts that the cut into fewer, larger ones left behind."""
    if run.manifest == _MANIFEST:
        _remove_parts(folder, first=run.sharding.count)


def _remove_parts(folder: RunFolder, *, first: int) -> None:
    for shard in folder.shards():
        if shard >= first:
            folder.fs.rm_file(f"{folder.parts}/{part_name(shard)}")
