"""The tree of folders: exact counts of all that is listed, in a bounded size."""

from typing import Any

import pyarrow as pa
import pytest

from fakescan.report.rows import folder_tree
from fakescan.report.rows.folder_tree import FolderCount, FolderTree

pytestmark = pytest.mark.unit


def tree_of(counts: dict[str, tuple[int, int, int, int]]) -> FolderTree:
    count = FolderCount()
    for name, numbers in counts.items():  # as several batches bring them
        count.add([name], [numbers])
    return count.tree()


def rows(tree: FolderTree) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in tree.table.to_pylist()}


def test_every_folder_counts_what_is_below_it() -> None:
    tree = tree_of(
        {
            "s3://b/x/a": (5, 1, 0, 2),
            "s3://b/x/a/deep": (0, 3, 0, 0),
            "s3://b/x/a!": (1, 0, 0, 0),
            "s3://b/x/c": (0, 0, 2, 0),
        }
    )
    found = rows(tree)
    assert tree.base == "s3://b/x"
    assert list(found) == ["s3://b/x", "s3://b/x/a", "s3://b/x/a/deep", "s3://b/x/a!", "s3://b/x/c"]
    numbers = {path: [row[name] for name in ("id", "parent", "last", "depth", "rows", "fake", "own_rows")]
               for path, row in found.items()}  # fmt: skip
    assert numbers == {
        "s3://b/x": [0, -1, 4, 0, 14, 4, 0],
        "s3://b/x/a": [1, 0, 2, 1, 11, 4, 8],
        "s3://b/x/a/deep": [2, 1, 2, 2, 3, 3, 3],
        "s3://b/x/a!": [3, 0, 3, 1, 1, 0, 1],
        "s3://b/x/c": [4, 0, 4, 1, 2, 0, 2],
    }
    assert found["s3://b/x"]["name"] == "s3://b/x"
    assert found["s3://b/x/a/deep"]["name"] == "deep"
    assert tree.ids_of(pa.array(["s3://b/x/c", "s3://b/x/a/deep", "s3://b/x/c"])).to_pylist() == [4, 2, 4]


@pytest.mark.parametrize(
    ("folders", "base", "paths"),
    [
        ([], "", [""]),
        (["/data"], "/data", ["/data"]),
        (["/a", "/b"], "/", ["/", "/a", "/b"]),
        (["s3://a/x", "gs://b/x", "/c"], "", ["", "/", "/c", "gs://b", "gs://b/x", "s3://a", "s3://a/x"]),
        (["https://h"], "https://h", ["https://h"]),
        (["/d/t.tar", "/d/t.tar/in"], "/d/t.tar", ["/d/t.tar", "/d/t.tar/in"]),
    ],
)  # fmt: skip
def test_odd_places(folders: list[str], base: str, paths: list[str]) -> None:
    tree = tree_of({name: (1, 0, 0, 0) for name in folders})
    assert tree.base == base
    assert tree.table["path"].to_pylist() == paths
    assert tree.ids_of(pa.array(folders, pa.string())).null_count == 0


def test_of_too_many_folders_the_largest_and_the_worst_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_tree, "MAX_LISTED", 3)
    counts = {f"/r/{number % 5}/{number:03}": (number, 0, 0, 0) for number in range(40)}
    counts["/r/1/bad"] = (1, 30, 0, 0)
    tree = tree_of(counts)
    found = rows(tree)
    assert tree.table.num_rows < 15
    assert "/r/1/bad" in found
    assert found["/r"]["rows"] == sum(range(40)) + 31
    assert tree.table.num_rows + tree.merged == 1 + 5 + 41
    assert sum(row["own_rows"] for row in found.values()) == found["/r"]["rows"]
    (place,) = tree.ids_of(pa.array(["/r/1/006"])).to_pylist()
    assert tree.table["path"][place].as_py() in ("/r/1", "/r")


def test_far_too_many_folders_lose_their_deepest_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_tree, "MAX_COUNTED", 10)
    tree = tree_of({f"/r/{number % 4}/{number}": (1, number % 2, 0, 0) for number in range(40)})
    found = rows(tree)
    assert list(found) == ["/r", "/r/0", "/r/1", "/r/2", "/r/3"]
    assert (found["/r/1"]["rows"], found["/r/1"]["fake"]) == (20, 10)
    assert tree.ids_of(pa.array(["/r/3/39"])).to_pylist() == [found["/r/3"]["id"]]


def test_the_worst_are_those_that_say_most() -> None:
    tree = tree_of(
        {"/r/three": (0, 3, 0, 0), "/r/half": (500, 500, 0, 0), "/r/good": (9000, 9, 0, 0), "/r/none": (50, 0, 0, 9),
         "/r/wrap/in": (900, 90, 0, 0)}
    )  # fmt: skip
    worst = [row["path"] for row in tree.worst(10)]
    assert worst[0] == "/r/half"
    assert "/r/none" not in worst
    assert ("/r/wrap" in worst) + ("/r/wrap/in" in worst) == 1
