"""Compact: the merged files hold what the parts hold, and are made anew when the parts change."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.compact import compact
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit


def merged(folder: RunFolder) -> dict[str, pa.Table]:
    return {path.name: pq.read_table(path) for path in sorted(Path(folder.path, "compact").glob("*.parquet"))}


def of_parts(folder: RunFolder) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(Path(folder.parts).iterdir()))


def test_one_file_holds_what_the_parts_hold(run_folder: RunFolder) -> None:
    index = compact(run_folder)
    assert [(file.name, file.first_row, file.rows) for file in index.files] == [("results-00000.parquet", 0, 50)]
    assert merged(run_folder)["results-00000.parquet"].equals(of_parts(run_folder))


def test_several_files_hold_whole_parts_in_order(run_folder: RunFolder) -> None:
    index = compact(run_folder, rows_per_file=33)
    assert [(file.first_row, file.rows) for file in index.files] == [(0, 32), (32, 18)]
    assert pa.concat_tables(merged(run_folder).values()).equals(of_parts(run_folder))


def test_files_smaller_than_a_part_hold_one(run_folder: RunFolder) -> None:
    assert [file.rows for file in compact(run_folder, rows_per_file=1).files] == [16, 16, 16, 2]


def test_on_s3(s3_bucket: Bucket) -> None:
    folder = RunFolder(f"{s3_bucket.url}/run", s3_bucket.store)
    make_run(folder)
    compact(folder)
    with folder.fs.open(f"{folder.path}/compact/results-00000.parquet") as file:
        assert pq.read_table(file)["row_id"].to_pylist() == list(range(50))


def test_a_repeated_call_changes_nothing(run_folder: RunFolder) -> None:
    index = compact(run_folder)
    before = Path(run_folder.path, "compact", "results-00000.parquet").read_bytes()
    assert compact(run_folder) == index
    assert Path(run_folder.path, "compact", "results-00000.parquet").read_bytes() == before


def test_a_call_that_cuts_otherwise_leaves_no_rows_twice(run_folder: RunFolder) -> None:
    compact(run_folder, rows_per_file=16)
    assert len(merged(run_folder)) == 4
    index = compact(run_folder)
    assert merged(run_folder).keys() == {file.name for file in index.files}
    assert sum(table.num_rows for table in merged(run_folder).values()) == 50


def test_a_call_that_was_interrupted_is_made_good(run_folder: RunFolder) -> None:
    compact(run_folder, rows_per_file=16)
    Path(run_folder.path, "compact", "index.json").unlink()
    Path(run_folder.path, "compact", "results-00001.parquet").unlink()
    compact(run_folder, rows_per_file=16)
    assert pa.concat_tables(merged(run_folder).values()).equals(of_parts(run_folder))


def test_a_file_that_was_lost_is_made_anew(run_folder: RunFolder) -> None:
    compact(run_folder)
    Path(run_folder.path, "compact", "results-00000.parquet").unlink()
    compact(run_folder)
    assert merged(run_folder)["results-00000.parquet"].equals(of_parts(run_folder))


def test_parts_that_a_retry_rewrote_are_merged_again(run_folder: RunFolder) -> None:
    compact(run_folder)
    path = Path(run_folder.parts, "part-00000001.parquet")
    table = pq.read_table(path)
    mended = table.set_column(
        table.schema.get_field_index("explanation"), table.schema.field("explanation"), pa.array(["mended"] * 16)
    )
    pq.write_table(mended, path)
    compact(run_folder)
    assert merged(run_folder)["results-00000.parquet"].equals(of_parts(run_folder))


def test_a_retry_whose_parts_have_the_same_size_is_noticed(run_folder: RunFolder) -> None:
    """Scores do not compress: another score makes a part of the same size."""
    compact(run_folder)
    path = Path(run_folder.parts, "part-00000001.parquet")
    data = path.read_bytes()
    table = pq.read_table(path)
    scores = [None if score is None else score + 0.5 for score in table["score"].to_pylist()]
    other = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), pa.array(scores, "f4"))
    run_folder.write_part(1, part_bytes(other, run_folder.open().sharding, 1))
    assert path.stat().st_size == len(data)
    compact(run_folder)
    assert merged(run_folder)["results-00000.parquet"].equals(of_parts(run_folder))


def test_a_run_that_is_not_finished_is_refused(run_folder: RunFolder) -> None:
    Path(run_folder.parts, "part-00000001.parquet").unlink()
    with pytest.raises(UserError, match=r"not finished \(1 parts are missing\)"):
        compact(run_folder)
    assert not Path(run_folder.path, "compact").exists()


def test_a_run_with_a_wrong_part_is_refused(run_folder: RunFolder) -> None:
    parts = Path(run_folder.parts)
    (parts / "part-00000000.parquet").write_bytes((parts / "part-00000003.parquet").read_bytes())
    with pytest.raises(UserError, match="hold 36 rows, not 50; run fakescan verify"):
        compact(run_folder)


def test_a_truncated_part_is_one_clear_error(run_folder: RunFolder) -> None:
    path = Path(run_folder.parts, "part-00000001.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="part-00000001"):
        compact(run_folder)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        compact(RunFolder(str(tmp_path), Store()))
