"""Folders of addresses of every kind, told apart below what they have in common."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.run.summary import folder_counts
from fakescan.run.summary.folder_counts import FolderCounts, folders_of
from fakescan.run.summary.outcomes import OUTCOMES

pytestmark = pytest.mark.unit


def counted(uris: list[str], depth: int = 1, *, parts: int = 1) -> FolderCounts:
    counts = FolderCounts(depth)
    for piece in np.array_split(np.array(uris, object), parts):
        counts.add(pa.chunked_array([pa.array(piece.tolist(), pa.string())]), np.zeros(len(piece), np.int64))
    return counts


def largest(counts: FolderCounts) -> dict[str, int]:
    return {name: int(rows.sum()) for name, rows in counts.largest()}


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("/data/a/1.jpg", "/data/a"),
        ("/1.jpg", ""),
        ("s3://b/1.jpg", "s3://b"),
        ("s3://b/a b/#?%/1.jpg", "s3://b/a b/#?%"),
        ("https://host/x/1.jpg", "https://host/x"),
        ("tar://cats/1.jpg::s3://b/00.tar", "s3://b/00.tar/cats"),
        ("tar://1.jpg::/data/00.tar", "/data/00.tar"),
        ("s3://b/x.parquet#row=3", "s3://b/x.parquet"),
        ("/data/x.parquet#row=3&image=1&column=a%2Fb", "/data/x.parquet"),
        ("/data/a\n/1.jpg", "/data/a\n"),
    ],
)
def test_the_folder_of_an_address(uri: str, folder: str) -> None:
    assert folders_of(pa.array([uri])).to_pylist() == [folder]


def test_outcomes_are_told_apart() -> None:
    counts = FolderCounts(1)
    counts.add(pa.chunked_array([["/d/a/1", "/d/a/2", "/d/b/1", "/d/a/3"]]), np.array([0, 3, 1, 3]))
    found = dict(counts.largest())
    assert OUTCOMES == ("real", "fake", "uncertain", "errors")
    assert found["a"].tolist() == [1, 0, 0, 2]
    assert found["b"].tolist() == [0, 1, 0, 0]


def test_what_is_common_may_turn_out_late() -> None:
    """The first part lies in one deep folder; the last address has nothing in common with it."""
    uris = [f"/data/photos/2024/05/{number}.jpg" for number in range(8)]
    counts = counted(uris)
    assert (counts.base, largest(counts)) == ("/data/photos/2024/05", {".": 8})
    counts = counted([*uris, "/data/photos/2023/1.jpg", "/data/photos/2.jpg"], parts=5)
    assert (counts.base, largest(counts)) == ("/data/photos", {"2024": 8, "2023": 1, ".": 1})
    counts = counted([*uris, "s3://b/x/1.jpg"], parts=9)
    assert (counts.base, largest(counts)) == ("", {"/": 8, "s3://b": 1})


def test_depth() -> None:
    uris = ["/d/a/x/1", "/d/a/y/1", "/d/a/y/deep/2", "/d/a/3", "/d/b/x/1"]
    assert largest(counted(uris, 1)) == {"a": 4, "b": 1}
    assert largest(counted(uris, 2)) == {"a/y": 2, "a/x": 1, "a": 1, "b/x": 1}


def test_names_that_are_not_utf8_lie_in_the_folders_of_the_others() -> None:
    uris = ["/my photos/a/1.jpg", "file:///my%20photos/a/%FF.jpg", "file:///my%20photos/%FF/2.jpg"]
    assert largest(counted(uris)) == {"a": 2, "%FF": 1}


def test_of_too_many_folders_the_small_ones_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_counts, "MAX_FOLDERS", 10)
    uris = [f"/d/big/{number}" for number in range(50)] + [f"/d/{number}/1" for number in range(40)]
    counts = counted(uris, parts=30)
    assert largest(counts)["big"] == 50
    assert len(largest(counts)) <= 10
    folders, rows = counts.rest
    assert int(rows.sum()) + sum(largest(counts).values()) == 90
    assert folders == 41 - len(largest(counts))


ADDRESSES = st.lists(st.sampled_from("abc"), max_size=4).map(lambda names: "/".join(["", *names, "f"]))


@given(st.lists(ADDRESSES, min_size=1), st.integers(1, 3), st.integers(1, 5))
def test_it_counts_as_one_would_by_hand(uris: list[str], depth: int, parts: int) -> None:
    folders = [tuple(Path(uri).parent.parts[1:]) for uri in uris]
    common = [names for names in zip(*folders, strict=False)]
    shared = next((n for n, names in enumerate(common) if len(set(names)) > 1), len(common))
    expected: dict[str, int] = {}
    for folder in folders:
        name = "/".join(folder[shared : shared + depth]) or "."
        expected[name] = expected.get(name, 0) + 1
    counts: Any = counted(uris, depth, parts=min(parts, len(uris)))
    assert largest(counts) == expected


@given(
    st.lists(
        st.sampled_from(["s3://b", "s3://c", ""]).flatmap(
            lambda head: st.lists(st.sampled_from("xyz"), min_size=1, max_size=5).map(
                lambda names: "/".join([head, *names])
            )
        ),
        min_size=1,
    ),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_what_is_counted_apart_is_the_same_together(uris: list[str], depth: int, parts: int) -> None:
    together = FolderCounts(depth)
    for piece in np.array_split(np.array(uris, object), parts):
        together.merge(counted(piece.tolist(), depth) if len(piece) else FolderCounts(depth))
    whole = counted(uris, depth)
    assert together.base == whole.base
    assert largest(together) == largest(whole)
