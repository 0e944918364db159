"""The parts of a run, read several at once: in order, few in memory, and no thread left behind."""

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.errors import JobFailedError
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import PartTable, UnreadablePart, part_tables
from fakescan.run.parts import part_bytes
from fakescan.run.run_file import RunFile
from fakescan.run.schema import RESULT_SCHEMA, result_schema
from fakescan.storage.store import Store
from tests.conftest import new_bucket
from tests.fakescan.run.conftest import make_run
from tests.storage_server import SeaweedServer

pytestmark = pytest.mark.unit

PARTS = 100


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder, rows=PARTS, shard_rows=1)
    return folder


def test_parts_come_in_order_with_the_columns_asked_for(folder: RunFolder) -> None:
    parts = list(part_tables(folder, folder.open(), range(PARTS), ["uri", "row_id"]))
    assert [part.table["row_id"].to_pylist() for part in parts if isinstance(part, PartTable)] == [
        [number] for number in range(PARTS)
    ]
    assert {tuple(part.table.column_names) for part in parts if isinstance(part, PartTable)} == {("row_id", "uri")}
    (whole,) = part_tables(folder, folder.open(), [5])
    assert isinstance(whole, PartTable)
    assert whole.table.column_names == RESULT_SCHEMA.names


def test_a_column_of_the_users_is_not_taken_for_one_of_a_later_version(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"), Store())
    run = make_run(folder, rows=2, shard_rows=2)
    selection = run.identity.selection.model_copy(update={"keep_columns": ("provenance",)})
    identity = run.identity.model_copy(update={"selection": selection})
    folder.save(RunFile.model_validate({**run.model_dump(), "identity": identity.model_dump(), "schema_version": "4"}))
    old = folder.open()
    part = pq.read_table(folder.part(0)).select(result_schema("4").names)
    part = part.append_column("provenance", pa.array(["a museum", None], pa.string()))
    folder.write_part(0, part_bytes(part, old.sharding, 0, old.result_schema))
    (found,) = part_tables(folder, old, [0], None, ("provenance",))
    assert isinstance(found, PartTable)
    assert found.table["provenance"].to_pylist() == [None, None]
    assert found.table["kept:provenance"].to_pylist() == ["a museum", None]
    (some,) = part_tables(folder, old, [0], ["provenance"])
    assert isinstance(some, PartTable)
    assert some.table["provenance"].to_pylist() == [None, None]


def test_a_reader_that_stops_leaves_no_thread(folder: RunFolder) -> None:
    before = threading.active_count()
    reader = part_tables(folder, folder.open(), range(PARTS))
    next(reader)
    assert threading.active_count() > before
    reader.close()
    assert threading.active_count() == before


def test_a_part_that_is_gone_is_named(folder: RunFolder) -> None:
    Path(folder.part(3)).unlink()
    parts = list(part_tables(folder, folder.open(), range(5)))
    assert parts[3] == UnreadablePart("parts/part-00000003.parquet", "is missing", 1)
    assert all(isinstance(part, PartTable) for part in (*parts[:3], parts[4]))


def test_a_store_that_goes_away_is_not_taken_for_damage(folder: RunFolder, own_s3: SeaweedServer) -> None:
    bucket = new_bucket(own_s3)
    remote = RunFolder(bucket.upload(Path(folder.path), "run"), bucket.store, patience_s=0.0)
    run = remote.open()
    reader = part_tables(remote, run, range(PARTS))
    assert isinstance(next(reader), PartTable)
    own_s3.kill()
    with pytest.raises(JobFailedError, match=r"cannot read parts/part-\d{8}\.parquet of s3://"):
        list(reader)
