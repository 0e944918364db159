"""How many pictures a run's images are: copies in other sizes, formats and qualities are one picture.

found = find_pictures(folder, "pictures.parquet")
found.images["fake"], found.pictures["fake"]
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fakescan.audit.output_file import output_file
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import PartTable, part_tables, whole_tables
from fakescan.run.run_file import RunFile
from fakescan.run.summary.outcomes import ERROR, OUTCOMES, outcome_numbers
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.clusters import picture_clusters
from fakevlm.near_duplicates.phash import BITS

LARGEST = 5
"""Pictures with most images that are named."""

_BYTES = BITS // 8
_WRITTEN = ("row_id", "uri", "sha256", "verdict", "score")
_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("uri", pa.string()),
        ("sha256", pa.string()),
        ("verdict", pa.string()),
        ("score", pa.float32()),
        ("picture", pa.int64()),
        ("images", pa.int64()),
    ]
)


@dataclass
class Pictures:
    """What a run's judged images are as pictures."""

    images: dict[str, int] = field(default_factory=dict)
    """Images by verdict."""
    pictures: dict[str, int] = field(default_factory=dict)
    """Pictures that have an image with this verdict."""
    total: int = 0
    """Pictures in all."""
    mixed: int = 0
    """Those whose images have different verdicts."""
    blank: int = 0
    """Images without a perceptual hash: only those with the same bytes are one picture."""
    errors: int = 0
    """Images without a verdict, which are in no picture."""
    missing: int = 0
    """Images that were not scanned yet."""
    largest: list[tuple[int, str, int]] = field(default_factory=list)
    """`LARGEST` pictures: row and address of the first image, and images."""


def find_pictures(
    folder: RunFolder,
    output: str | None = None,
    *,
    limit: int = LIMIT,
    store: Store | None = None,
    on_parts: OnParts = nobody,
    on_table: Callable[[int], None] = lambda _: None,
) -> Pictures:
    """Find the pictures, and write `picture` (the row of its first image) and `images` of each judged image.

    Memory: about 170 bytes an image. Parts are read twice where there is an output. Raises UserError for a run without
    perceptual hashes, an output that is not .parquet, a limit outside 0 to 64, and a part that cannot be read.
    """
    run = folder.open()
    _check(run, folder, output, limit)
    shards = folder.listing().below(run.sharding.count).shards.tolist()
    judged = _read(folder, run, shards, on_parts)
    clusters = _clusters(judged, limit, on_table)
    result = _counted(judged, clusters)
    result.missing = run.rows - run.sharding.rows_of(np.asarray(shards, np.int64))
    sizes = np.bincount(clusters, minlength=len(clusters)) if len(clusters) else clusters
    largest = [int(first) for first in np.argsort(-sizes, kind="stable")[:LARGEST] if sizes[first] > 1]
    result.largest = _named(folder, run, judged.rows, sizes, largest)
    if output is not None:
        _write(folder, run, shards, judged.rows, (clusters, sizes), output, folder.store if store is None else store)
    return result


@dataclass(frozen=True)
class _Judged:
    """The rows with a verdict, in order."""

    rows: NDArray[np.int64]
    outcomes: NDArray[np.int8]
    hashes: NDArray[np.uint8]
    """uint8[rows, 32]; of blank images the SHA-256 of their bytes."""
    is_blank: NDArray[np.bool_]
    errors: int


def _check(run: RunFile, folder: RunFolder, output: str | None, limit: int) -> None:
    if "phash" not in run.result_schema.names:
        raise UserError(
            f"run: {redact(folder.url)} was begun by a version without perceptual hashes; "
            "scan its source again, into a new run"
        )
    if output is not None and not output.endswith(".parquet"):
        raise UserError(f"output: {redact(output)} must end with .parquet")
    if not 0 <= limit <= BITS // 4:
        raise UserError(f"limit: {limit} does not lie between 0 and {BITS // 4}")


def _read(folder: RunFolder, run: RunFile, shards: list[int], on_parts: OnParts) -> _Judged:
    rows, outcomes, hashes, blank, errors = [], [], [], [], 0
    for part in whole_tables(folder, run, shards, ("row_id", "sha256", "verdict", "phash")):
        numbers = outcome_numbers(part["verdict"])
        judged = part.filter(pa.array(numbers != ERROR))
        errors += part.num_rows - judged.num_rows
        rows.append(judged["row_id"].to_numpy())
        outcomes.append(numbers[numbers != ERROR].astype(np.int8))
        blank.append(judged["phash"].is_null().to_numpy())
        digits = pc.coalesce(judged["phash"], judged["sha256"]).to_pylist()
        hashes.append(np.frombuffer(bytes.fromhex("".join(digits)), np.uint8).reshape(-1, _BYTES))
        on_parts(1)
    if not rows:
        raise UserError(f"run: {redact(folder.url)} has no rows yet; scan first")
    return _Judged(
        np.concatenate(rows), np.concatenate(outcomes), np.concatenate(hashes), np.concatenate(blank), errors
    )


def _clusters(judged: _Judged, limit: int, on_table: Callable[[int], None]) -> NDArray[np.int64]:
    """For each row the place of the first one of its picture."""
    result = np.empty(len(judged.rows), np.int64)
    for places, most in ((np.flatnonzero(~judged.is_blank), limit), (np.flatnonzero(judged.is_blank), 0)):
        result[places] = places[picture_clusters(judged.hashes[places], most, on_table=on_table)]
    return result


def _counted(judged: _Judged, clusters: NDArray[np.int64]) -> Pictures:
    result = Pictures(blank=int(judged.is_blank.sum()), errors=judged.errors)
    times = np.zeros(len(clusters), np.int8)
    for number, name in enumerate(OUTCOMES[:ERROR]):
        of_verdict = clusters[judged.outcomes == number]
        if len(of_verdict):
            firsts = np.unique(of_verdict)
            times[firsts] += 1
            result.images[name], result.pictures[name] = len(of_verdict), len(firsts)
    result.total, result.mixed = int((times > 0).sum()), int((times > 1).sum())
    return result


def _named(
    folder: RunFolder, run: RunFile, rows: NDArray[np.int64], sizes: NDArray[np.int64], firsts: list[int]
) -> list[tuple[int, str, int]]:
    """The first images of pictures: row, address, images."""
    wanted = {int(rows[first]): int(sizes[first]) for first in firsts}
    uris: dict[int, str] = {}
    for part in part_tables(folder, run, sorted({run.sharding.of(row) for row in wanted}), ("row_id", "uri")):
        if isinstance(part, PartTable):
            chosen = part.table.filter(pc.is_in(part.table["row_id"], pa.array(list(wanted), pa.int64())))
            uris |= dict(zip(chosen["row_id"].to_pylist(), chosen["uri"].to_pylist(), strict=True))
    return [(row, uris.get(row, ""), size) for row, size in wanted.items()]


def _write(
    folder: RunFolder,
    run: RunFile,
    shards: list[int],
    rows: NDArray[np.int64],
    found: tuple[NDArray[np.int64], NDArray[np.int64]],
    output: str,
    store: Store,
) -> None:
    clusters, sizes = found
    with output_file(output, store) as path, pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        for part in whole_tables(folder, run, shards, _WRITTEN):
            ids = part["row_id"].to_numpy()
            places = np.searchsorted(rows, ids)
            known = (places < len(rows)) & (rows[np.minimum(places, len(rows) - 1)] == ids) if len(rows) else ids < 0
            first = clusters[places[known]]
            columns = [part.filter(pa.array(known))[name] for name in _WRITTEN]
            columns += [pa.chunked_array([rows[first]]), pa.chunked_array([sizes[first].astype(np.int64)])]
            writer.write_table(pa.table(columns, schema=_SCHEMA))
