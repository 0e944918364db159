"""The rows of a run, as its parts hold them."""

import pyarrow as pa

SCHEMA_VERSION = "1"

RESULT_SCHEMA = pa.schema(
    [
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
    ],
    metadata={"fakescan.schema_version": SCHEMA_VERSION},
)
"""One row per manifest row; docs/results.md says what each column means. Columns are added, never repurposed."""
