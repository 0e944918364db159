"""Compact: the merged files hold what the parts hold, and are made anew when the parts change."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.compact import compact
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.sealed_parquet import parquet_bytes
from fakescan.run.verify import verify
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


def stamps(folder: RunFolder) -> dict[str, int]:
    """When each merged file was written."""
    return {path.name: path.stat().st_ino for path in Path(folder.path, "compact").glob("*.parquet")}


def test_files_that_are_right_are_left_as_they_are(run_folder: RunFolder) -> None:
    index = compact(run_folder, rows_per_file=16)
    before = stamps(run_folder)
    part = run_folder.read_part(1)
    assert part is not None
    words = ["other words", *part["explanation"].to_pylist()[1:]]
    place = part.schema.get_field_index("explanation")
    other = part.set_column(place, part.schema.field(place), pa.array(words))
    run_folder.write_part(1, part_bytes(other, run_folder.open().sharding, 1))
    Path(run_folder.path, "compact", "results-00002.parquet").unlink()
    assert compact(run_folder, rows_per_file=16) == index
    after = stamps(run_folder)
    kept = {name for name, stamp in after.items() if before.get(name) == stamp}
    assert kept == {"results-00000.parquet", "results-00003.parquet"}
    assert pa.concat_tables(merged(run_folder).values()).equals(of_parts(run_folder))


@pytest.mark.parametrize("place", [4, 1000, -30, -1])
def test_a_changed_byte_in_a_merged_file_is_made_good(run_folder: RunFolder, place: int) -> None:
    compact(run_folder)
    file = Path(run_folder.path, "compact", "results-00000.parquet")
    data = file.read_bytes()
    changed = bytearray(data)
    changed[place] ^= 4
    file.write_bytes(changed)
    compact(run_folder)
    assert file.read_bytes() == data


def test_a_call_that_stops_anywhere_is_continued_to_the_same_bytes(run_folder: RunFolder, tmp_path: Path) -> None:
    def all_files(folder: RunFolder) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path(folder.path, "compact").iterdir()}

    class Stopped(BaseException):
        pass

    compact(run_folder, rows_per_file=16)
    expected = all_files(run_folder)
    for stop_at in range(1, 5):
        shutil.rmtree(Path(run_folder.path, "compact"))
        done = 0

        def on_parts(parts: int, stop_at: int = stop_at) -> None:
            nonlocal done
            done += parts
            if done == stop_at:
                raise Stopped

        with pytest.raises(Stopped):
            compact(run_folder, rows_per_file=16, on_parts=on_parts)
        assert "index.json" not in all_files(run_folder)
        begun = stamps(run_folder)
        compact(run_folder, rows_per_file=16)
        assert all_files(run_folder) == expected
        assert begun.items() <= stamps(run_folder).items(), "what was there is not written again"


def test_merged_files_have_large_row_groups(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder, rows=400, shard_rows=2)
    compact(folder)
    assert pq.read_metadata(Path(folder.path, "compact", "results-00000.parquet")).num_row_groups == 1


def test_files_of_a_version_that_named_no_parts_are_compared_and_merged_again(run_folder: RunFolder) -> None:
    compact(run_folder)
    file = Path(run_folder.path, "compact", "results-00000.parquet")
    today = file.read_bytes()
    table = of_parts(run_folder)
    file.write_bytes(parquet_bytes([table], run_folder.open().result_schema))
    assert verify(run_folder).problems == []
    compact(run_folder)
    assert file.read_bytes() == today
    scores = pa.array([0.5] * 50, pa.float32())
    other = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), scores)
    file.write_bytes(parquet_bytes([other], run_folder.open().result_schema))
    assert "differs from part-00000000.parquet" in verify(run_folder).problems[0]
