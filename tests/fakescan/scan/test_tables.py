"""Tables between the stages: pixels are a tensor, and summaries survive the way to the driver."""

import pyarrow as pa
import pytest

from fakescan.run.counts import Counts
from fakescan.scan.tables import PartSummary, decoded_schema, examples
from tests.fakescan.run.conftest import MIXED

pytestmark = pytest.mark.unit


def test_pixels_travel_as_a_tensor_column() -> None:
    kind = decoded_schema(84, 80).field("pixels").type
    assert (kind.value_type, kind.shape) == (pa.uint8(), [84, 80, 3])


@pytest.mark.parametrize(
    "summary",
    [
        PartSummary(-1),
        PartSummary(
            12,
            Counts(5, 1, 1, 1, {"denied": 2}),
            examples={"denied": "s3://b/1: ünd"},
            copies=2,
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
    summaries = PartSummary(-1), PartSummary(1, Counts(2, errors={"empty": 2}))
    schemas = [summary.to_table().schema for summary in summaries]
    assert schemas[0].equals(schemas[1])


def test_an_example_is_the_first_row_of_its_code() -> None:
    assert examples(MIXED) == {"denied": "s3://b/1: forbidden", "empty": "s3://b/2: no bytes"}
    assert examples(MIXED.slice(0, 4)) == {}
