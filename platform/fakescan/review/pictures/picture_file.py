"""The file that `fakescan duplicates -o` writes: for each judged image of a run, which picture it is.

for rows in first_images("pictures.parquet", store, run, judged=29_700):
    rows["row_id"], rows["verdict"], rows["logit"]
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fakescan.run.run_file import RunFile
from fakescan.storage.preflight import check_readable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

PICTURE_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("uri", pa.string()),
        ("sha256", pa.string()),
        ("verdict", pa.string()),
        ("score", pa.float32()),
        ("logit", pa.float32()),
        ("picture", pa.int64()),
        ("images", pa.int64()),
    ]
)
"""`picture`: the row of its first image; `images`: how many it has."""
FIRST_COLUMNS = ("row_id", "verdict", "logit")
"""What is known of a picture's first image where prevalence is counted by picture."""
_RUN_KEY = b"fakescan.run_id"


def metadata_of(run: RunFile) -> dict[bytes, bytes]:
    """The file's metadata: which run it is of."""
    return {_RUN_KEY: run.run_id.encode()}


def first_images(place: str, store: Store, run: RunFile, *, judged: int) -> Iterator[pa.Table]:
    """The first image of each picture, with `FIRST_COLUMNS`, some at a time.

    `judged`: images of the run that have a verdict now. Raises UserError for a file that is none of this kind, is of
    another run, or was written when the run had other images.
    """
    check_readable(place, store)
    fs, path = store.filesystem(place)
    try:
        with fs.open(path, "rb") as source:
            file = pq.ParquetFile(source)
            metadata = file.schema_arrow.metadata or {}
            if _RUN_KEY not in metadata or not {*FIRST_COLUMNS, "picture"} <= set(file.schema_arrow.names):
                raise UserError(
                    f"pictures: {redact(place)} was not written by this version of `fakescan duplicates -o`; "
                    "write it again"
                )
            if metadata[_RUN_KEY].decode() != run.run_id:
                raise UserError(
                    f"pictures: {redact(place)} is of the run {metadata[_RUN_KEY].decode()}, and this one is "
                    f"{run.run_id}; write it for this run with `fakescan duplicates -o`"
                )
            if file.metadata.num_rows != judged:
                raise UserError(
                    f"pictures: {redact(place)} holds {file.metadata.num_rows:,} images, and {judged:,} of the run "
                    "have a verdict now; write it again with `fakescan duplicates -o`"
                )
            for batch in file.iter_batches(2**18, columns=[*FIRST_COLUMNS, "picture"]):
                rows = pa.Table.from_batches([batch])
                yield rows.filter(pc.equal(rows["row_id"], rows["picture"])).select(FIRST_COLUMNS)
    except pa.ArrowInvalid:
        raise UserError(
            f"pictures: {redact(place)} is no Parquet file; write it with `fakescan duplicates -o`"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"pictures: {redact(place)} does not exist; write it with `fakescan duplicates -o`") from None
