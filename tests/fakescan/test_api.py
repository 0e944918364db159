"""A run from Python: its rows as Arrow and pandas, whole, unfinished and damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import fakescan
from fakescan.api import Run
from fakescan.run.folder import RunFolder
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.run.conftest import ROWS, make_run

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)
    return folder


@pytest.fixture
def run(folder: RunFolder) -> Run:
    return fakescan.open_run(folder.url)


def test_all_rows_as_arrow(run: Run) -> None:
    table = run.to_arrow()
    assert table.column_names == RESULT_SCHEMA.names
    assert table["row_id"].to_pylist() == list(range(ROWS))
    assert table.num_rows == run.info.rows == run.counts.rows == ROWS
    assert run.counts.fake == pc.sum(pc.equal(table["verdict"], "fake")).as_py()
    assert (run.is_finished, run.left_out, run.verify().problems) == (True, {}, [])
    assert repr(run) == f"Run({run.url!r}, 50 rows)"


def test_columns_and_filters(run: Run) -> None:
    columns = ["score", "uri"]
    expected = run.to_arrow().filter(pc.field("verdict") == "fake").select(columns)
    assert expected.num_rows > 0
    assert run.to_arrow(columns, pc.field("verdict") == "fake").equals(expected)
    assert run.to_arrow(columns, [("verdict", "==", "fake")]).equals(expected)
    assert pa.Table.from_batches(run.batches(columns, [("verdict", "in", ["fake"])])).equals(expected)
    none = run.to_arrow(columns, [("score", ">", 2.0)])
    assert (none.num_rows, none.column_names) == (0, columns)
    assert list(run.batches(filter=[("score", ">", 2.0)])) == []
    assert run.to_arrow("uri").column_names == ["uri"]


def test_batches_are_at_most_a_part(run: Run) -> None:
    assert [batch.num_rows for batch in run.batches(["row_id"])] == [16, 16, 16, 2]


def test_pandas(run: Run) -> None:
    frame = run.to_pandas(["uri", "verdict"], [("verdict", "==", "real")])
    assert list(frame.columns) == ["uri", "verdict"]
    assert set(frame.verdict) == {"real"}
    assert len(frame) == run.counts.real


def test_without_pandas_there_is_a_line(folder: RunFolder) -> None:
    program = (
        "import sys\nclass Finder:\n    def find_spec(name, path, target=None):\n"
        "        if name == 'pandas':\n            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Finder)\nimport fakescan\n"
        f"run = fakescan.open_run({folder.url!r})\nprint(run.to_arrow().num_rows)\n"
        "try:\n    run.to_pandas()\nexcept fakescan.UserError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "50",
        "to_pandas: pandas is not installed; `pip install pandas`, or use to_arrow or batches",
    ], done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"columns": ["scroe"]}, "columns: there is no 'scroe'; there are row_id, uri"),
        ({"filter": pc.field("scroe") > 1}, "filter: "),
        ({"filter": [("scroe", ">", 1)]}, "filter: "),
        ({"filter": [("score", "~", 1)]}, "filter: "),
        ({"filter": "score > 1"}, "filter: "),
        ({"filter": [("score", ">", "x")]}, "filter: "),
        ({"filter": pc.field("uri")}, "filter: "),
    ],
)
def test_what_does_not_exist_is_one_line(run: Run, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as caught:
        run.to_arrow(**arguments)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unfinished_run_grows(folder: RunFolder, run: Run) -> None:
    part = Path(folder.part(1))
    data = part.read_bytes()
    part.unlink()
    assert not run.is_finished
    assert run.to_arrow().num_rows == run.counts.rows == ROWS - 16
    (problem,) = run.verify().problems
    assert problem.startswith("unfinished: 34 of 50 rows are done; parts/part-00000001.parquet is missing")
    part.write_bytes(data)
    assert run.is_finished
    assert run.to_arrow().num_rows == ROWS


def test_a_damaged_part_is_named(folder: RunFolder, run: Run) -> None:
    Path(folder.part(1)).write_bytes(b"no Parquet")
    with pytest.raises(UserError, match=r"parts/part-00000001\.parquet of .* cannot be read: .*; see fakescan verify"):
        run.to_arrow()


def test_a_run_in_a_bucket(folder: RunFolder, s3_bucket: Bucket) -> None:
    url = s3_bucket.upload(Path(folder.path), "run")
    for store in (s3_bucket.store, s3_bucket.settings()):
        assert fakescan.open_run(url, store).to_arrow().equals(fakescan.open_run(folder.url).to_arrow())


def test_no_run_and_wrong_stores(tmp_path: Path) -> None:
    for place, store, words in (
        (tmp_path, None, "holds no run"),
        (tmp_path / "none", None, "there is no such file or folder"),
        (tmp_path, {"endpoint": "x"}, "store.endpoint: unknown"),
        (tmp_path, {"options": {"key": "hidden"}, "anon": "hidden"}, "store.anon"),
        ("ftpx://host/run", None, "unknown scheme"),
    ):
        with pytest.raises(UserError) as caught:
            fakescan.open_run(place, store)
        assert words in str(caught.value)
        assert "hidden" not in str(caught.value)


def test_a_path_that_is_not_utf8(folder: RunFolder, tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    Path(folder.path).rename(place)
    assert fakescan.open_run(place).to_arrow().num_rows == ROWS
