"""Seals: whatever byte of a file changes is noticed, and readers of Parquet see an ordinary file."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.sealed_parquet import Seal, parquet_bytes, read_sealed, seal_of

pytestmark = pytest.mark.unit

TABLE = pa.table(
    {"row_id": list(range(300)), "text": [f"fakescan.sha256 {'ab' * 40} {number}" for number in range(300)]}
)
DATA = parquet_bytes([TABLE.slice(0, 100), TABLE.slice(100)], TABLE.schema, {"note": "kept"})


def test_a_file_is_read_back_by_us_and_by_others(tmp_path: Path) -> None:
    assert seal_of(DATA) is Seal.INTACT
    assert read_sealed(DATA).equals(TABLE)
    assert read_sealed(DATA, ["text"]).column_names == ["text"]
    (tmp_path / "file.parquet").write_bytes(DATA)
    assert pq.read_table(tmp_path / "file.parquet", page_checksum_verification=True).equals(TABLE)
    assert pq.read_metadata(tmp_path / "file.parquet").metadata[b"note"] == b"kept"


def test_the_same_rows_give_the_same_bytes() -> None:
    assert parquet_bytes([TABLE.slice(0, 100), TABLE.slice(100)], TABLE.schema, {"note": "kept"}) == DATA


def test_no_change_of_one_byte_is_read_as_if_it_were_sound() -> None:
    random.seed(7)
    places = [*range(16), *range(len(DATA) - 600, len(DATA)), *random.sample(range(len(DATA)), 400)]
    for place in places:
        changed = bytearray(DATA)
        changed[place] ^= 1 << random.randrange(8)
        assert seal_of(bytes(changed)) is not Seal.INTACT, place


@pytest.mark.parametrize("end", [0, 1, 7, 8, 100, len(DATA) // 2, len(DATA) - 1])
def test_a_file_that_ends_early(end: int) -> None:
    assert seal_of(DATA[:end]) is not Seal.INTACT
    with pytest.raises(pa.ArrowInvalid):
        read_sealed(DATA[:end])


def test_a_file_without_a_seal_is_read_and_known_as_such() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE.drop_columns(["text"]), sink)
    data = sink.getvalue().to_pybytes()
    assert seal_of(data) is Seal.MISSING
    assert read_sealed(data).num_rows == 300


def test_a_file_written_again_by_another_program_is_noticed() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(DATA)), sink)
    assert seal_of(sink.getvalue().to_pybytes()) is not Seal.INTACT
