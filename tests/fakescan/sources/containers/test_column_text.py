"""Values of Parquet columns as text: every type, with all digits, as a person would write them."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.containers.column_text import column_text, has_text

pytestmark = pytest.mark.unit

NOON = datetime(2026, 11, 26, 12, 0, 0)


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        (["007", "", " a "], pa.string(), ["007", "", " a "]),
        (["a", "b", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
        (["a"], pa.large_string(), ["a"]),
        (["a"], pa.string_view(), ["a"]),
        ([0, -7, 2**63 - 1], pa.int64(), ["0", "-7", "9223372036854775807"]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([5], pa.dictionary(pa.int8(), pa.int64()), ["5"]),
        ([True, False], pa.bool_(), ["true", "false"]),
        ([0.1, 7.0, 1e300, 5e-324, -0.0], pa.float64(), ["0.1", "7.0", "1e+300", "5e-324", "-0.0"]),
        ([0.1, 16777216.0, 3.4028235e38], pa.float32(), ["0.1", "16777216.0", "3.4028235e+38"]),
        ([0.1, 2.0], pa.float16(), ["0.1", "2.0"]),
        ([float("nan"), float("inf")], pa.float64(), ["NaN", "Infinity"]),
        ([float("nan"), float("-inf")], pa.float32(), ["NaN", "-Infinity"]),
        ([Decimal("1.10"), Decimal("0.00")], pa.decimal128(5, 2), ["1.10", "0.00"]),
        ([Decimal("1E+3")], pa.decimal128(5, -2), ["1000"]),
        ([Decimal("0")], pa.decimal256(60, 40), ["0." + "0" * 40]),
        ([date(2026, 2, 3), date(9999, 12, 31)], pa.date32(), ["2026-02-03", "9999-12-31"]),
        ([date(1969, 12, 31)], pa.date64(), ["1969-12-31"]),
        ([time(1, 2, 3)], pa.time32("s"), ["01:02:03"]),
        ([time(1, 2, 3, 4000)], pa.time64("us"), ["01:02:03.004000"]),
        ([NOON], pa.timestamp("s"), ["2026-11-26T12:00:00"]),
        (
            [NOON, NOON.replace(microsecond=5)],
            pa.timestamp("us"),
            ["2026-11-26T12:00:00", "2026-11-26T12:00:00.000005"],
        ),
        ([1], pa.timestamp("ns"), ["1970-01-01T00:00:00.000000001"]),
        ([NOON.replace(tzinfo=ZoneInfo("UTC"))], pa.timestamp("ms", "UTC"), ["2026-11-26T12:00:00Z"]),
        ([NOON.replace(tzinfo=ZoneInfo("UTC"))], pa.timestamp("ms", "Asia/Tokyo"), ["2026-11-26T12:00:00Z"]),
        ([NOON.replace(tzinfo=ZoneInfo("UTC"))], pa.timestamp("us", "+09:00"), ["2026-11-26T12:00:00Z"]),
        ([timedelta(hours=1), timedelta(milliseconds=-1500)], pa.duration("ms"), ["PT3600S", "-PT1.5S"]),
        ([[1, None], []], pa.list_(pa.int64()), ["[1, null]", "[]"]),
        ([[0.5]], pa.list_(pa.float32(), 1), ["[0.5]"]),
        ([{"a": 'é"', "b": None}], pa.struct([("a", pa.string()), ("b", pa.int8())]), ['{"a": "é\\"", "b": null}']),
        ([[("k", 1)]], pa.map_(pa.string(), pa.int64()), ['[["k", 1]]']),
        (
            [{"at": NOON, "d": date(2026, 1, 2), "n": Decimal("2.50"), "t": timedelta(seconds=5)}],
            pa.struct(
                [("at", pa.timestamp("us")), ("d", pa.date32()), ("n", pa.decimal128(9, 2)), ("t", pa.duration("us"))]
            ),
            ['{"at": "2026-11-26T12:00:00", "d": "2026-01-02", "n": 2.50, "t": "PT5S"}'],
        ),
        ([None], pa.null(), [None]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, pa.DataType) else "",
)
def test_every_type(tmp_path: Path, values: list[Any], kind: pa.DataType, texts: list[str]) -> None:
    assert has_text(kind)
    array = pa.array([*values, None], kind)
    assert column_text(array) == [*texts, None]
    assert column_text(array.slice(1)) == [*texts[1:], None]
    assert column_text(array.slice(0, 0)) == []
    if pa.types.is_string_view(kind) or (pa.types.is_decimal(kind) and kind.scale < 0):
        return  # which Parquet does not have
    pq.write_table(pa.table({"x": array}), tmp_path / "a.parquet")
    stored = pq.ParquetFile(tmp_path / "a.parquet").read()["x"].combine_chunks()
    assert column_text(stored) == [*texts, None], "as Parquet gives it back"


def test_extension_types() -> None:
    one = UUID("12345678-1234-5678-1234-567812345678")
    array = pa.array([one.bytes, None], pa.uuid())
    assert has_text(array.type)
    assert column_text(array) == [str(one), None]
    text = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None]))
    assert has_text(text.type)
    assert column_text(text) == ['{"a":1}', None]


@pytest.mark.parametrize(
    "kind",
    [
        pa.binary(),
        pa.large_binary(),
        pa.binary(4),
        pa.binary_view(),
        pa.dictionary(pa.int8(), pa.binary()),
        pa.list_(pa.binary()),
        pa.struct([("a", pa.int8()), ("b", pa.list_(pa.binary()))]),
        pa.map_(pa.string(), pa.binary()),
        pa.month_day_nano_interval(),
    ],
    ids=str,
)
def test_bytes_are_no_text(kind: pa.DataType) -> None:
    assert not has_text(kind)


def test_text_that_is_not_utf_8() -> None:
    raw = pa.array([b"caf\xe9", None, b"tea"], pa.binary())
    text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    assert column_text(text) == ["caf\udce9", None, "tea"]
