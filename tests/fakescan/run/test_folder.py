"""The run folder: run.json is written once, and what is missing is found by one listing of names."""

import pickle
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import Sharding, part_name
from fakescan.run.run_file import new_run
from fakescan.run.sealed_parquet import parquet_bytes
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.run.conftest import ROWS, SHARD_ROWS, identity

pytestmark = pytest.mark.unit


def test_a_run_file_survives_the_disk(tmp_path: Path) -> None:
    folder = RunFolder(f"{tmp_path}/run/", Store())
    assert folder.load() is None
    run = new_run(identity(), "m", "careful", fingerprint="f", rows=33, population=99, shard_rows=16)
    folder.save(run)
    assert RunFolder(f"{tmp_path}/run", Store()).open() == run
    assert run.sharding.count == 3


def test_two_runs_have_different_ids() -> None:
    runs = [new_run(identity(), "m", None, fingerprint="f", rows=1, population=1, shard_rows=1) for _ in range(2)]
    assert runs[0].run_id != runs[1].run_id


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run_id": "x"}'])
def test_a_strange_run_file_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is not a run of this version of fakescan; use another --output"):
        RunFolder(str(tmp_path), Store()).load()


def test_missing_shards_are_those_without_a_part(tmp_path: Path) -> None:
    folder, sharding = RunFolder(str(tmp_path), Store()), Sharding(1000, 100)
    assert folder.missing(sharding).tolist() == list(range(10)), "without a folder of parts, too"
    parts = tmp_path / "parts"
    parts.mkdir()
    strangers = [part_name(10), part_name(12345), ".part-00000001.parquet.ab.tmp", "_SUCCESS", "part-1.parquet"]
    for name in (*strangers, *map(part_name, (0, 3, 9))):
        (parts / name).touch()
    assert folder.missing(sharding).tolist() == [1, 2, 4, 5, 6, 7, 8], "and each listing is a fresh one"
    assert folder.shards() == [0, 3, 9, 10, 12345]
    for shard in range(10):
        (parts / part_name(shard)).touch()
    assert folder.missing(sharding).tolist() == []


def test_counts_and_rows_of_a_run(run_folder: RunFolder) -> None:
    run = run_folder.open()
    whole = Counts()
    for counts in run_folder.counts(run_folder.shards()):
        whole.add(counts)
    assert whole == Counts(ROWS, 22, 21, 0, {"not_found": 7})
    assert run_folder.counts_of(3) == Counts(2, 1, 1)
    rows = run_folder.rows(run, ["row_id", "error_code"])
    assert rows.column_names == ["row_id", "error_code"]
    assert rows["row_id"].to_pylist() == list(range(ROWS))


def test_what_is_missing_or_damaged_is_named(run_folder: RunFolder) -> None:
    run = run_folder.open()
    Path(run_folder.part(1)).write_bytes(b"PAR1")
    Path(run_folder.part(2)).unlink()
    with pytest.raises(UserError, match="part-00000001"):
        run_folder.counts_of(1)
    with pytest.raises(UserError, match=r"part-00000001\.parquet of .* is damaged"):
        run_folder.rows(run)
    with pytest.raises(UserError, match=r"part-00000002\.parquet of .* is missing; scan again"):
        list(run_folder.tables([2]))
    assert run_folder.read_part(2) is None


def test_a_folder_pickles_as_its_address_and_its_store(run_folder: RunFolder) -> None:
    copy = pickle.loads(pickle.dumps(run_folder))
    assert (copy.url, copy.path) == (run_folder.url, run_folder.path)
    part = copy.read_part(0)
    assert part is not None
    assert part.equals(pq.read_table(run_folder.part(0)))
    assert part.num_rows == SHARD_ROWS


def test_no_damage_to_a_footer_is_more_than_one_clear_error(run_folder: RunFolder) -> None:
    random.seed(3)
    data = Path(run_folder.part(1)).read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(random.randrange(1, 4)):
            changed[-random.randrange(1, footer)] = random.randrange(256)
        cut = random.choice([0, 0, random.randrange(len(data))])
        Path(run_folder.part(1)).write_bytes(bytes(changed)[cut:])
        problem = ""
        try:
            run_folder.counts_of(1)  # a change of what it does not look at
        except UserError as error:
            problem = str(error)
        assert not problem or problem.startswith("run: parts/part-00000001.parquet of ")


def test_a_footer_longer_than_one_request_is_read(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), Store())
    counts = Counts(3, 3)
    table = pa.table({"row_id": [1, 2, 3]})
    more = {COUNTS_KEY.decode(): counts.to_json(), "more": "x" * 200_000}
    folder.write_part(0, parquet_bytes([table], table.schema, more))
    assert folder.counts_of(0) == counts
