"""Verify: an intact run passes, and each way of damaging one by hand is named."""

import os
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.compact import compact
from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit


def part(folder: RunFolder, shard: int) -> Path:
    return Path(folder.parts) / f"part-{shard:08d}.parquet"


def rewrite(folder: RunFolder, shard: int, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(part(folder, shard))), part(folder, shard))


def changed(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    """The table with one cell changed."""
    values = table[column].to_pylist()
    values[row] = value
    field = table.schema.field(column)
    return table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))


def assert_problem(folder: RunFolder, *words: str, count: int = 1) -> None:
    problems = verify(folder).problems
    assert len(problems) == count, problems
    for word in words:
        assert word in " ".join(problems)


def test_an_intact_run_passes_and_is_counted(run_folder: RunFolder) -> None:
    found = verify(run_folder)
    assert found.problems == []
    assert found.counts == Counts(50, 22, 21, 0, {"not_found": 7})


def test_an_intact_run_on_s3_passes(s3_bucket: Bucket) -> None:
    folder = RunFolder(f"{s3_bucket.url}/run", s3_bucket.store)
    make_run(folder)
    assert verify(folder).problems == []
    s3_bucket.call("delete_object", Key="run/parts/part-00000002.parquet")
    assert_problem(folder, "unfinished: 34 of 50 rows are done", "part-00000002.parquet is missing", "resumes")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json is missing"):
        verify(RunFolder(str(tmp_path), Store()))


def test_a_deleted_part(run_folder: RunFolder) -> None:
    part(run_folder, 3).unlink()
    assert_problem(run_folder, "unfinished: 48 of 50 rows", "part-00000003.parquet is missing")


def test_all_parts_deleted(run_folder: RunFolder) -> None:
    shutil.rmtree(run_folder.parts)
    assert_problem(run_folder, "unfinished: 0 of 50 rows", "part-00000000.parquet and 3 more parts are missing")


def test_a_part_copied_under_another_shards_name(run_folder: RunFolder) -> None:
    shutil.copy(part(run_folder, 0), part(run_folder, 1))
    assert_problem(run_folder, "part-00000001.parquet does not hold rows 16 to 31")


def test_a_part_copied_beyond_the_last_one(run_folder: RunFolder) -> None:
    shutil.copy(part(run_folder, 0), part(run_folder, 4))
    assert_problem(run_folder, "part-00000004.parquet is beyond the last part, part-00000003.parquet")


@pytest.mark.parametrize("name", ["part-00000001 (copy).parquet", "copy.parquet", "part-1.parquet"])
def test_a_part_copied_under_a_name_of_its_own(run_folder: RunFolder, name: str) -> None:
    """Readers take parts/*.parquet: such a file would give its rows twice."""
    shutil.copy(part(run_folder, 0), Path(run_folder.parts) / name)
    assert_problem(run_folder, f"parts/{name} is not a part of this run")


def test_a_temporary_file_of_a_killed_scan_is_no_problem(run_folder: RunFolder) -> None:
    (Path(run_folder.parts) / f".part-00000001.parquet.{'0' * 16}.tmp").write_bytes(b"half")
    assert verify(run_folder).problems == []


@pytest.mark.parametrize("left", [0, 1, 3, 100, -1, -100])
def test_a_truncated_part(run_folder: RunFolder, left: int) -> None:
    data = part(run_folder, 1).read_bytes()
    part(run_folder, 1).write_bytes(data[:left])
    assert_problem(run_folder, "part-00000001.parquet")


def test_a_part_with_damaged_pages(run_folder: RunFolder) -> None:
    data = bytearray(part(run_folder, 1).read_bytes())
    for position in range(4, len(data) // 2):
        data[position] ^= 0xFF
    part(run_folder, 1).write_bytes(data)
    assert_problem(run_folder, "part-00000001.parquet")


def test_a_part_of_another_run(run_folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other)
    shutil.copy(part(other, 1), part(run_folder, 1))
    assert_problem(run_folder, "part-00000001.parquet comes from another run")


def test_a_part_about_other_images(run_folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other, prefix="s3://elsewhere/")
    shutil.copy(part(other, 1), part(run_folder, 1))
    assert_problem(run_folder, "part-00000001.parquet holds other images")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.slice(0, 15), "does not hold rows"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "does not hold rows"),
        (lambda table: table.take(list(range(15, -1, -1))), "does not hold rows"),
        (lambda table: table.drop_columns(["score"]), "other columns"),
        (lambda table: table.append_column("more", pa.nulls(16)), "other columns"),
        (
            lambda table: table.set_column(7, RESULT_SCHEMA.field("verdict"), pa.nulls(16, pa.string())),
            "neither or both of verdict and error",
        ),
        (
            lambda table: table.set_column(12, RESULT_SCHEMA.field("error_code"), pa.array(["poison"] * 16)),
            "neither or both of verdict and error",
        ),
        (
            lambda table: table.set_column(7, RESULT_SCHEMA.field("verdict"), pa.nulls(16, pa.string())).set_column(
                12, RESULT_SCHEMA.field("error_code"), pa.array(["new_code"] * 16)
            ),
            "unknown error codes: new_code",
        ),
        (
            lambda table: table.set_column(7, RESULT_SCHEMA.field("verdict"), pa.array(["perhaps"] * 16)).set_column(
                12, RESULT_SCHEMA.field("error_code"), pa.nulls(16, pa.string())
            ),
            "verdict",
        ),
        (lambda table: changed(table, "verdict", 3, "real"), "a verdict in row 19 that does not follow from its score"),
        (lambda table: changed(table, "score", 3, 0.5), "a score in row 19 that does not follow from its logit"),
        (lambda table: changed(table, "logit", 3, -3.0), "a score in row 19 that does not follow"),
        (lambda table: changed(table, "score", 3, None), "verdicts without score"),
        (lambda table: changed(table, "score", 3, float("nan")), "a score in row 19"),
        (lambda table: changed(table, "sha256", 3, None), "verdicts without sha256"),
        (lambda table: changed(table, "sha256", 3, "abc"), "a sha256 that is none"),
        (lambda table: changed(table, "width", 3, None), "verdicts without width"),
        (lambda table: changed(table, "model", 3, "another"), "names another model"),
        (lambda table: changed(table, "source_key", 3, "0" * 64), "other source keys"),
        (lambda table: changed(table, "score", 8, 0.5), "errors with a score"),
        (lambda table: changed(table, "explanation", 8, "because"), "errors with a explanation"),
        (lambda table: changed(table, "error_message", 8, None), "errors without a message"),
        (lambda table: changed(table, "explanation", 3, "This is fine."), "checksum"),
        (lambda table: changed(table, "sha256", 3, "0" * 64), "checksum"),
        (lambda table: changed(table, "num_bytes", 3, 5), "checksum"),
        (lambda table: changed(table, "off_script", 3, 0.5), "checksum"),
        (lambda table: changed(table, "scanned_at", 3, datetime(2020, 1, 1, tzinfo=UTC)), "checksum"),
        (lambda table: changed(table, "error_message", 3, "a note"), "checksum"),
        (lambda table: table.replace_schema_metadata(None), "no checksum"),
    ],
)
def test_a_part_with_wrong_rows(run_folder: RunFolder, change: Callable[[pa.Table], pa.Table], words: str) -> None:
    rewrite(run_folder, 1, change)
    assert_problem(run_folder, "part-00000001.parquet", words)


def test_another_manifest(run_folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other, prefix="s3://elsewhere/")
    shutil.rmtree(Path(run_folder.path) / "manifest")
    shutil.copytree(Path(other.path) / "manifest", Path(run_folder.path) / "manifest")
    assert_problem(run_folder, "the manifest is not the one")


def test_a_lost_manifest_is_one_clear_error(run_folder: RunFolder) -> None:
    shutil.rmtree(Path(run_folder.path) / "manifest")
    with pytest.raises(UserError, match="manifest"):
        verify(run_folder)


def test_a_lost_manifest_file_is_one_clear_error(run_folder: RunFolder) -> None:
    (Path(run_folder.path) / "manifest" / "part-00000.parquet").unlink()
    with pytest.raises(UserError, match="manifest"):
        verify(run_folder)


def test_each_problem_is_named(run_folder: RunFolder) -> None:
    part(run_folder, 0).unlink()
    part(run_folder, 2).write_bytes(b"")
    assert_problem(run_folder, "part-00000000", "part-00000002", count=2)


def test_no_flip_of_one_byte_in_a_part_goes_unnoticed(run_folder: RunFolder) -> None:
    random.seed(11)
    for _ in range(60):
        file = part(run_folder, random.randrange(4))
        data = file.read_bytes()
        place = random.randrange(len(data))
        file.write_bytes(data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :])
        assert len(verify(run_folder).problems) == 1, (file.name, place)
        file.write_bytes(data)
    assert verify(run_folder).problems == []


def test_a_flip_in_the_manifest_is_noticed_or_changes_no_row(run_folder: RunFolder) -> None:
    random.seed(12)
    file = Path(run_folder.path) / "manifest" / "part-00000.parquet"
    data = file.read_bytes()
    rows = run_folder.manifest(run_folder.open()).rows(0, 50)
    for _ in range(60):
        place = random.randrange(len(data))
        file.write_bytes(data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :])
        try:
            if not verify(run_folder).problems:  # a flip in what a footer says beside the rows
                assert run_folder.manifest(run_folder.open()).rows(0, 50).equals(rows)
        except UserError:
            continue


@pytest.mark.parametrize("name", ["results-00000.parquet", "index.json"])
def test_damaged_compact_files(run_folder: RunFolder, name: str) -> None:
    compact(run_folder)
    assert verify(run_folder).problems == []
    file = Path(run_folder.path) / "compact" / name
    data = file.read_bytes()
    for change in (data[:-20], data[: len(data) // 2], b""):
        file.write_bytes(change)
        assert_problem(run_folder, f"compact/{name}", "run fakescan compact again")
    file.unlink()
    assert_problem(run_folder, "compact/", "run fakescan compact again")
    compact(run_folder)
    assert verify(run_folder).problems == []


def test_compact_files_that_are_older_than_the_parts(run_folder: RunFolder) -> None:
    compact(run_folder)
    run = run_folder.open()
    table = run_folder.read_part(1)
    assert table is not None
    table = changed(table, "error_message", 8, "another reason")
    run_folder.write_part(1, part_bytes(table, run.sharding, 1))
    assert_problem(run_folder, "compact/results-00000.parquet differs from part-00000001.parquet", "compact again")
    compact(run_folder)
    shutil.copy(Path(run_folder.path) / "compact/results-00000.parquet", Path(run_folder.path) / "compact/more.parquet")
    assert_problem(run_folder, "compact/more.parquet is not a file of this run")


class Stopped(BaseException):
    """As Ctrl-C."""


def stopped(folder: RunFolder, parts: int = 0) -> None:
    """A verify that is interrupted once so many parts are read."""

    def on_parts(_: int) -> None:
        raise Stopped

    with patch("fakescan.run.verify.BATCH_PARTS", parts), pytest.raises(Stopped):
        verify(folder, on_parts=on_parts)


def test_an_interrupted_call_is_continued_and_a_whole_one_is_not(run_folder: RunFolder) -> None:
    expected = verify(run_folder)
    assert (expected.continued, expected.since) == (0, None)
    stopped(run_folder, 2)
    found = verify(run_folder)
    assert (found.problems, found.counts) == (expected.problems, expected.counts)
    assert found.continued == 2
    assert found.since is not None
    assert verify(run_folder).continued == 0, "it reads everything again"
    stopped(run_folder, 3)
    assert verify(run_folder, from_start=True).continued == 0


def test_a_part_that_changed_after_the_interruption_is_read_again(run_folder: RunFolder) -> None:
    for place in (200, -20):
        data = part(run_folder, 1).read_bytes()
        stopped(run_folder, 3)
        found = part(run_folder, 1).stat()
        changed_data = bytearray(data)
        changed_data[place] ^= 1
        part(run_folder, 1).write_bytes(changed_data)
        os.utime(part(run_folder, 1), ns=(found.st_atime_ns, found.st_mtime_ns))
        assert_problem(run_folder, "part-00000001.parquet")
        part(run_folder, 1).write_bytes(data)
        assert verify(run_folder).problems == []


def test_a_part_that_is_lost_after_the_interruption_is_missing(run_folder: RunFolder) -> None:
    stopped(run_folder, 4)
    part(run_folder, 1).unlink()
    assert_problem(run_folder, "part-00000001.parquet is missing")


def test_what_was_wrong_before_the_interruption_is_wrong_after_it(run_folder: RunFolder) -> None:
    part(run_folder, 0).write_bytes(b"")
    stopped(run_folder, 3)
    assert_problem(run_folder, "part-00000000.parquet")


def test_proofs_that_are_a_day_old_or_of_another_run_do_not_count(run_folder: RunFolder, tmp_path: Path) -> None:
    stopped(run_folder, 4)
    with patch("fakescan.run.facts.cache.time.time", lambda: datetime.now(UTC).timestamp() + 24 * 3600 + 1):
        assert verify(run_folder).continued == 0
    stopped(run_folder, 4)
    (proof,) = (Path(run_folder.path) / "cache").glob("proof-*")
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other)
    (Path(other.path) / "cache").mkdir()
    shutil.copy(proof, Path(other.path) / "cache")
    assert verify(other).continued == 0
    data = bytearray(proof.read_bytes())
    data[len(data) // 2] ^= 1
    proof.write_bytes(data)
    assert verify(run_folder).continued == 0


def test_another_manifest_is_noticed_in_spite_of_proofs(run_folder: RunFolder, tmp_path: Path) -> None:
    stopped(run_folder, 4)
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other, prefix="s3://elsewhere/")
    name = "manifest/part-00000.parquet"
    shutil.copy(Path(other.path) / name, Path(run_folder.path) / name)
    assert_problem(run_folder, "another fingerprint")


def test_a_run_in_a_folder_that_cannot_be_written_is_verified(run_folder: RunFolder) -> None:
    Path(run_folder.path, "cache").write_text("")
    stopped(run_folder, 2)
    assert verify(run_folder).problems == []


def test_a_run_that_misses_its_short_last_part(run_folder: RunFolder) -> None:
    part(run_folder, 3).unlink()
    part(run_folder, 1).unlink()
    assert_problem(run_folder, "unfinished: 32 of 50 rows are done", "part-00000001.parquet and one more part are")


def test_proofs_that_may_not_be_deleted_do_not_count_after_a_whole_call(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(run_folder, 4)

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_folder.fs, "rm_file", refuse)
    assert verify(run_folder, from_start=True).continued == 0
    assert verify(run_folder).continued == 0


def test_a_run_without_rows_passes(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder, rows=0)
    assert verify(folder).problems == []
    assert compact(folder).files == []
    assert verify(folder).problems == []


def test_an_interrupted_call_on_s3_is_continued(s3_bucket: Bucket) -> None:
    folder = RunFolder(f"{s3_bucket.url}/run", s3_bucket.store)
    make_run(folder)
    stopped(folder, 3)
    data = folder.part_data(0)
    assert data is not None
    s3_bucket.put("run/parts/part-00000000.parquet", data[:-30] + b"x" + data[-29:])
    found = verify(folder)
    assert found.continued == 2
    assert "part-00000000.parquet was changed after it was written" in found.problems[0]
    s3_bucket.put("run/parts/part-00000000.parquet", data)
    assert verify(folder).problems == []
