"""The rows of a run, as its parts hold them."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from fakescan.run.stability.columns import STRIP_FIELDS, STRIP_NAMES
from fakescan.sources.kept_columns import check_names
from fakevlm.errors import UserError

SCHEMA_VERSION: Final = "5"

_OF_VERSION_1 = [
    pa.field("row_id", pa.int64(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    pa.field("sha256", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("num_bytes", pa.int64()),
    pa.field("verdict", pa.string()),
    pa.field("score", pa.float32()),
    pa.field("logit", pa.float32()),
    pa.field("off_script", pa.float32()),
    pa.field("explanation", pa.string()),
    pa.field("error_code", pa.string()),
    pa.field("error_message", pa.string()),
    pa.field("model", pa.string(), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("scanned_at", pa.timestamp("us", tz="UTC"), nullable=False),
]
_OF_VERSION_2 = [
    pa.field("source_key", pa.string()),
    pa.field("etag", pa.string()),
    pa.field("version", pa.string()),
    pa.field("last_modified", pa.timestamp("us", tz="UTC")),
]
_OF_VERSION_3 = [pa.field("remark", pa.string())]
_OF_VERSION_4 = [pa.field("phash", pa.string())]
PROVENANCE_FIELDS = (
    pa.field("provenance", pa.string()),
    pa.field("provenance_basis", pa.string()),
    pa.field("provenance_generator", pa.string()),
    pa.field("provenance_signer", pa.string()),
    pa.field("provenance_detail", pa.string()),
)
"""What an image's file says of its own origin."""
_OF_VERSION_5 = [*PROVENANCE_FIELDS, *STRIP_FIELDS]
_VERSIONS = {
    "1": _OF_VERSION_1,
    "2": [*_OF_VERSION_1, *_OF_VERSION_2],
    "3": [*_OF_VERSION_1, *_OF_VERSION_2, *_OF_VERSION_3],
    "4": [*_OF_VERSION_1, *_OF_VERSION_2, *_OF_VERSION_3, *_OF_VERSION_4],
    "5": [*_OF_VERSION_1, *_OF_VERSION_2, *_OF_VERSION_3, *_OF_VERSION_4, *_OF_VERSION_5],
}


KEPT: Final = "kept:"
"""Before the name of a column of the user's list where the columns of all versions are beside it: a list that an
earlier version has kept may name a column as a later one does."""


def result_schema(version: str = SCHEMA_VERSION, kept: Sequence[str] = (), *, strip: bool = False) -> pa.Schema:
    """The columns of a run's parts: those of its version, then those of the user's list that it keeps, as text.

    Parts have the columns of a stability strip, `strip`, only where the run has one.
    """
    fields = [field for field in _VERSIONS[version] if strip or field.name not in STRIP_NAMES]
    fields += [pa.field(name, pa.string()) for name in kept]
    return pa.schema(fields, metadata={"fakescan.schema_version": version})


RESULT_SCHEMA = result_schema()
"""One row per manifest row; docs/results.md says what each column means. Columns are added, never repurposed."""

ALL_COLUMNS = result_schema(strip=True)
"""The columns that the results of any run may have."""


def check_kept_names(names: Sequence[str]) -> None:
    """Raises UserError for columns of a source that cannot be in the results under their names."""
    check_names(names)
    for name in names:
        if name in ALL_COLUMNS.names:
            raise UserError(f"keep_columns: {name!r} is the name of a column of the results; rename it in the list")
