"""Rows: counts and summaries survive the way through tables and footers; the result schema is what is documented."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from fakescan.run.schema import RESULT_SCHEMA, Counts, PartSummary, count_rows, decoded_schema, examples

pytestmark = pytest.mark.unit


def results(*rows: Mapping[str, Any]) -> pa.Table:
    full = {"uri": "s3://b/x.jpg", "model": "m", "run_id": "r", "scanned_at": 0}
    return pa.Table.from_pylist([{"row_id": index, **full, **row} for index, row in enumerate(rows)], RESULT_SCHEMA)


MIXED = results(
    {"verdict": "real"},
    {"verdict": "fake"},
    {"verdict": "fake"},
    {"verdict": "uncertain"},
    {"error_code": "denied", "error_message": "forbidden", "uri": "s3://b/1"},
    {"error_code": "empty", "error_message": "no bytes", "uri": "s3://b/2"},
    {"error_code": "denied", "error_message": "other words", "uri": "s3://b/3"},
)


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


def test_pixels_travel_as_a_tensor_column() -> None:
    kind = decoded_schema(84, 80).field("pixels").type
    assert (kind.value_type, kind.shape) == (pa.uint8(), [84, 80, 3])


def test_a_tally_counts_each_row_once() -> None:
    counts = count_rows(MIXED)
    assert counts == Counts(7, 1, 2, 1, {"denied": 2, "empty": 1})
    assert counts.failed == 3
    assert counts.most_common() == [("denied", 2), ("empty", 1)]
    assert count_rows(MIXED.slice(0, 0)) == Counts()


def test_tallies_and_summaries_add_up() -> None:
    whole = Counts()
    whole.add(count_rows(MIXED))
    whole.add(PartSummary(3, rows=4, real=2, errors={"empty": 1, "poison": 1}))
    assert whole == Counts(11, 3, 2, 1, {"denied": 2, "empty": 2, "poison": 1})


def test_equally_common_errors_are_in_alphabetical_order() -> None:
    assert Counts(errors={"poison": 1, "empty": 1, "denied": 2}).most_common() == [
        ("denied", 2),
        ("empty", 1),
        ("poison", 1),
    ]


@pytest.mark.parametrize("counts", [Counts(), count_rows(MIXED)])
def test_a_tally_survives_a_footer(counts: Counts) -> None:
    assert Counts.from_json(counts.to_json().encode()) == counts


@pytest.mark.parametrize(
    "summary",
    [
        PartSummary(-1),
        PartSummary(
            12,
            rows=5,
            real=1,
            fake=1,
            uncertain=1,
            errors={"denied": 2},
            examples={"denied": "s3://b/1: ünd"},
            image_bytes=10**12,
            part_bytes=77,
            fetch_cpu_s=0.5,
            decode_cpu_s=0.25,
            write_cpu_s=0.125,
            written_at=1.75e9,
            engine={"id": "ab", "steps": 3, "busy_s": 0.5},
        ),
    ],
)
def test_a_summary_survives_a_table(summary: PartSummary) -> None:
    (row,) = summary.to_table().to_pylist()
    assert PartSummary.from_row(row) == summary


def test_summaries_with_and_without_counts_have_one_schema() -> None:
    """Ray Data joins them; a column that is text in one block and null in another would split the schema."""
    schemas = [summary.to_table().schema for summary in (PartSummary(-1), PartSummary(1, 2, errors={"empty": 2}))]
    assert schemas[0].equals(schemas[1])


def test_an_example_is_the_first_row_of_its_code() -> None:
    assert examples(MIXED) == {"denied": "s3://b/1: forbidden", "empty": "s3://b/2: no bytes"}
    assert examples(MIXED.slice(0, 4)) == {}
