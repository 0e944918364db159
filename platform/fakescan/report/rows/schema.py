"""The Parquet files of a report: their columns, and how they are written so that a page can read pieces of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fakescan.report.rows.strip import SPREAD
from fakescan.run.schema import ALL_COLUMNS, KEPT, RESULT_SCHEMA

ROWS_PER_FILE = 2**18
ROWS_PER_GROUP = 4096
ROWS_PER_PAGE = 1024
FACET_ROWS_PER_GROUP = 2**20
"""A page asks for a column of a group with one request, and decodes it at once."""
FACET_ROWS_PER_FILE = 2**22
THUMBS_PER_FILE = 1024
THUMBS_PER_GROUP = 32

_LEFT_OUT = frozenset({"model", "run_id", "source_key"})
"""Columns of the run that are the same in all rows, or of no use to people."""

_FACETS: Final = pa.schema(
    [
        pa.field("verdict", pa.uint8(), nullable=False),
        pa.field("error", pa.uint8(), nullable=False),
        pa.field("folder", pa.int32(), nullable=False),
        pa.field("words", pa.int32(), nullable=False),
        pa.field("flags", pa.int32(), nullable=False),
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("kilobytes", pa.int32(), nullable=False),
        pa.field("origin", pa.uint8(), nullable=False),
        pa.field("back", pa.int32(), nullable=False),
        pa.field("spread", pa.uint16(), nullable=False),
    ]
)
"""What filters and sorting need of each row, in the order of the rows. `verdict`: 0 real, 1 fake, 2 uncertain, 3 error;
`error`: number of the code, 0 for none; `folder`: id; `words`, `flags`: bit masks; `origin`: number of what the file
says of its origin, 0 where it was not read; `back`: how many positions before it the first row of the same picture is,
0 where it is that itself or has no other; `spread`: thousandths between the highest and the lowest score of the image
and its variants, 0 where nobody has looked at it again."""
_ROW_ID = 5


def facets_schema(rows: int) -> pa.Schema:
    """The columns of the facets of a run of so many rows: a page reads numbers of 32 bits in a tenth of the time."""
    if rows > 2**31:
        return _FACETS
    return _FACETS.set(_ROW_ID, pa.field("row_id", pa.int32(), nullable=False))


THUMBS_SCHEMA: Final = pa.schema(
    [
        pa.field("thumb", pa.int32(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("verdict", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("explanation", pa.string()),
        pa.field("strip", pa.string()),
        pa.field("picture", pa.int64()),
        pa.field("images", pa.int32()),
        pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("error_code", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)
"""Small JPEGs, or why there is none. `image` is as other tools expect it: bytes and a name; `strip` is JSON."""


def rows_schema(kept: Sequence[str] = (), strip: Sequence[str] = ()) -> pa.Schema:
    """The columns of the rows' files; `kept`: those of the user's list; `strip`: those of a stability strip."""
    fields = [_field(field) for field in RESULT_SCHEMA if field.name not in _LEFT_OUT]
    fields += [_field(ALL_COLUMNS.field(name)) for name in strip]
    fields += [pa.field(SPREAD, pa.float32())] if strip else []
    fields += [pa.field(f"{KEPT}{name}", pa.string()) for name in kept]
    fields += [pa.field(name, pa.int32(), nullable=False) for name in ("folder", "words", "flags")]
    fields += [pa.field("origin", pa.uint8(), nullable=False), pa.field("origin_words", pa.string())]
    fields += [pa.field("picture", pa.int64()), pa.field("images", pa.int32())]
    return pa.schema([*fields, pa.field("thumb", pa.int32())])


def _field(field: pa.Field) -> pa.Field:
    return pa.field("sha256", pa.binary(32)) if field.name == "sha256" else field.remove_metadata()


def write_rows(tables: Iterable[pa.Table], schema: pa.Schema, sink: pa.NativeFile, metadata: Mapping[str, str]) -> None:
    """Write tables of at most `ROWS_PER_GROUP` rows each, as row groups."""
    repeated = [
        name
        for name in schema.names
        if name in ("format", "verdict", "error_code", "error_message", "remark", "folder", "words", "flags", "images")
        or name.startswith((KEPT, "origin", "provenance"))
    ]
    _write(tables, schema, sink, metadata, group=ROWS_PER_GROUP, page=ROWS_PER_PAGE, dictionaries=repeated)


def write_facets(
    tables: Iterable[pa.Table], schema: pa.Schema, sink: pa.NativeFile, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tables of at most `FACET_ROWS_PER_GROUP` rows each, as row groups.

    `back` is mostly 0, which is next to nothing as it is, compressed.
    """
    repeated = ["verdict", "error", "folder", "words", "flags", "origin", "spread"]
    _write(
        tables, schema, sink, metadata or {}, group=FACET_ROWS_PER_GROUP, page=2**20, dictionaries=repeated,
        encodings={name: "DELTA_BINARY_PACKED" for name in ("row_id", "kilobytes")},
    )  # fmt: skip


def write_thumbs(table: pa.Table, sink: pa.NativeFile, metadata: Mapping[str, str]) -> None:
    """Write thumbnails, which are compressed already; each is a page of its own, to be read alone."""
    _write([table], THUMBS_SCHEMA, sink, metadata, group=THUMBS_PER_GROUP, page=1, compression="none")


def _write(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    sink: pa.NativeFile,
    metadata: Mapping[str, str],
    *,
    group: int,
    page: int,
    dictionaries: Sequence[str] = (),
    encodings: Mapping[str, str] | None = None,
    compression: str = "snappy",
) -> None:
    """Snappy, since every reader of Parquet has it built in; statistics where a reader can use them."""
    with pq.ParquetWriter(
        sink,
        schema,
        compression=compression,
        use_dictionary=list(dictionaries),
        column_encoding=dict(encodings) if encodings else None,
        write_statistics=[name for name in ("row_id", "score", "position") if name in schema.names],
        write_page_index=True,
        max_rows_per_page=page,
        write_batch_size=min(page, 1024),
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        for table in tables:
            writer.write_table(table, group)
        writer.add_key_value_metadata(dict(metadata))
