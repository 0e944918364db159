"""The result schema is the documented one."""

import pyarrow as pa
import pytest

from fakescan.run.schema import ALL_COLUMNS, RESULT_SCHEMA, check_kept_names, result_schema
from fakescan.run.stability.columns import STRIP_NAMES
from fakevlm.errors import UserError

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
        "source_key",
        "etag",
        "version",
        "last_modified",
        "remark",
        "phash",
        "provenance",
        "provenance_basis",
        "provenance_generator",
        "provenance_signer",
        "provenance_detail",
    ]
    assert {RESULT_SCHEMA.field(name).type for name in ("score", "logit", "off_script")} == {pa.float32()}
    assert RESULT_SCHEMA.field("row_id").type == pa.int64()
    assert pa.types.is_timestamp(RESULT_SCHEMA.field("scanned_at").type)
    assert RESULT_SCHEMA.metadata == {b"fakescan.schema_version": b"5"}


@pytest.mark.parametrize(("version", "columns"), [("1", 17), ("2", 21), ("3", 22), ("4", 23)])
def test_a_run_of_an_earlier_version_keeps_its_columns(version: str, columns: int) -> None:
    old = result_schema(version)
    assert old.names == RESULT_SCHEMA.names[:columns]
    assert old.metadata == {b"fakescan.schema_version": version.encode()}


def test_a_run_with_a_stability_strip_has_its_columns_before_the_users() -> None:
    schema = result_schema("5", ["id"], strip=True)
    assert schema.names == [*RESULT_SCHEMA.names, *STRIP_NAMES, "id"]
    assert ALL_COLUMNS.names == schema.names[:-1]
    assert result_schema("4", strip=True).equals(result_schema("4"))


def test_kept_columns_are_text_after_the_others() -> None:
    schema = result_schema("5", ["label", "id"])
    assert schema.names == [*RESULT_SCHEMA.names, "label", "id"]
    assert schema.field("label").type == pa.string()


@pytest.mark.parametrize(
    "name",
    ["uri", "score", "etag", "last_modified", "remark", "phash", "provenance_signer", "score_flip", "verdict_holds"],
)
def test_a_kept_column_with_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(UserError, match=f"keep_columns: '{name}' is the name of a column of the results; rename it"):
        check_kept_names(["id", name])
