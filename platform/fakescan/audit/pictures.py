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

from fakescan.audit.output_file import output_file
from fakescan.review.pictures.picture_file import PICTURE_SCHEMA, metadata_of
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import PartTable, part_tables, whole_tables
from fakescan.run.run_file import RunFile
from fakescan.run.summary.pictures import COLUMNS, PictureCounts, RowHashes, RunPictures
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.phash import BITS

LARGEST = 5
"""Pictures with most images that are named."""

_WRITTEN = ("row_id", "uri", "sha256", "verdict", "score", "logit")


@dataclass
class Pictures(PictureCounts):
    """What a run's judged images are as pictures."""

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
    if not shards:
        raise UserError(f"run: {redact(folder.url)} has no rows yet; scan first")
    hashes = RowHashes()
    for part in whole_tables(folder, run, shards, COLUMNS):
        hashes.take(part)
        on_parts(1)
    pictures = hashes.pictures(limit, on_table=on_table)
    result = Pictures(**vars(pictures.counts()), errors=hashes.errors)
    result.missing = run.rows - run.sharding.rows_of(np.asarray(shards, np.int64))
    result.largest = _named(folder, run, pictures)
    if output is not None:
        _write(folder, run, shards, pictures, output, folder.store if store is None else store)
    return result


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


def _named(folder: RunFolder, run: RunFile, pictures: RunPictures) -> list[tuple[int, str, int]]:
    """The first images of the largest pictures: row, address, images."""
    wanted = {int(pictures.rows[place]): int(pictures.sizes[place]) for place in pictures.largest(LARGEST)}
    uris: dict[int, str] = {}
    for part in part_tables(folder, run, sorted({run.sharding.of(row) for row in wanted}), ("row_id", "uri")):
        if isinstance(part, PartTable):
            chosen = part.table.filter(pc.is_in(part.table["row_id"], pa.array(list(wanted), pa.int64())))
            uris |= dict(zip(chosen["row_id"].to_pylist(), chosen["uri"].to_pylist(), strict=True))
    return [(row, uris.get(row, ""), size) for row, size in wanted.items()]


def _write(
    folder: RunFolder, run: RunFile, shards: list[int], pictures: RunPictures, output: str, store: Store
) -> None:
    schema = PICTURE_SCHEMA.with_metadata(metadata_of(run))
    with output_file(output, store) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in whole_tables(folder, run, shards, _WRITTEN):
            places, known = pictures.places(part["row_id"].to_numpy())
            first = pictures.firsts[places[known]]
            columns = [part.filter(pa.array(known))[name] for name in _WRITTEN]
            columns += [pa.chunked_array([pictures.rows[first]]), pa.chunked_array([pictures.sizes[first]])]
            writer.write_table(pa.table(columns, schema=schema))
