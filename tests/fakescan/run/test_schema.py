"""The result schema is the documented one."""

import pyarrow as pa
import pytest

from fakescan.run.schema import RESULT_SCHEMA

pytestmark = pytest.mark.unit


def test_the_columns_are_the_documented_ones() -> None:
    assert RESULT_SCHEMA.names == [
        "row_id",
        "uri",
        "sha256",
        "width",
        "height",
        "format",
        "num_bytes",
        "verdict",
        "score",
        "logit",
        "off_script",
        "explanation",
        "error_code",
        "error_message",
        "model",
        "run_id",
        "scanned_at",
    ]
    assert {RESULT_SCHEMA.field(name).type for name in ("score", "logit", "off_script")} == {pa.float32()}
    assert RESULT_SCHEMA.field("row_id").type == pa.int64()
    assert pa.types.is_timestamp(RESULT_SCHEMA.field("scanned_at").type)
    assert RESULT_SCHEMA.metadata == {b"fakescan.schema_version": b"1"}
