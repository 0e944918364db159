"""Missing, empty and damaged image files: found by listing folders, and by decoding in processes that may die."""

import json
import logging
import os
from pathlib import Path

import pytest

from fakevlm.data.contents import ImageContents
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.images import _Decoders, check_decoding, check_presence
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.errors import ErrorCode, ImageError
from tests.conftest import Bucket
from tests.fakevlm.data.labelled import fields, png, write_dataset

pytestmark = pytest.mark.unit

PATHS = ["top.png", "animal/real/1.png", "animal/real/2.png", "animal/fake/deep/er/3.png", "doc/4.png", "../5.png"]


def told(problems: list[DatasetProblem]) -> list[tuple[int | None, ProblemKind]]:
    return [(problem.number, problem.kind) for problem in problems]


def decoded(dataset: Dataset, absent: frozenset[str] = frozenset()) -> list[DatasetProblem]:
    return list(check_decoding(dataset, absent, max_pixels=10_000, processes=1))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, map(fields, PATHS))
    dataset = open_dataset(root)
    assert check_presence(dataset).problems == []
    (root / "animal/real/1.png").write_bytes(b"")
    (root / "animal/real/2.png").unlink()
    (root / "doc/4.png").unlink()
    (root / "doc/4.png").mkdir()
    (root / "top.png").rename(root / "TOP.png")
    found = check_presence(dataset)
    assert told(found.problems) == [
        (1, ProblemKind.MISSING),
        (2, ProblemKind.EMPTY),
        (3, ProblemKind.MISSING),
        (5, ProblemKind.MISSING),
    ]
    assert found.problems[0].message == f"there is no file {root}/top.png"
    assert found.paths == {
        f"{root}/{path}" for path in ("top.png", "animal/real/1.png", "animal/real/2.png", "doc/4.png")
    }


def test_folders_behind_links_are_found(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", [fields("animal/1.png")])
    (root / "animal").rename(tmp_path / "elsewhere")
    (root / "animal").symlink_to(tmp_path / "elsewhere")
    assert check_presence(open_dataset(root)).problems == []


def test_a_bucket_is_listed_not_asked_image_by_image(s3_bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    many = [f"ff++/fake/m/{video:03}/{frame}.png" for video in range(20) for frame in range(5)]
    items = [fields(path) for path in [*PATHS, *many]]
    s3_bucket.put("set/data_json/train.json", json.dumps(items).encode())
    for path in [*PATHS[:4], *many[1:]]:
        s3_bucket.put(f"set/{path}", b"" if path == PATHS[1] else b"x")
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/set")
    dataset = open_dataset(path, fs)
    with caplog.at_level(logging.DEBUG, logger="s3fs"):
        found = check_presence(dataset)
    assert told(found.problems) == [(2, ProblemKind.EMPTY), (5, ProblemKind.MISSING), (7, ProblemKind.MISSING)]
    assert 4 <= sum(entry.startswith("CALL: ") for entry in caplog.messages) <= 8


def test_damaged_images_and_wrong_sizes(tmp_path: Path) -> None:
    items = [fields(f"a/{number}.png") for number in range(7)]
    items[5] |= {"width": 6, "height": 8}  # as displayed, where the file is turned
    items[6] |= {"width": None, "height": None}
    root = write_dataset(tmp_path, [*items, items[0], fields("../x.png")])
    (root / "a/1.png").write_bytes(png()[:40])
    (root / "a/2.png").write_bytes(b"hello")
    (root / "a/3.png").write_bytes(png(200, 100))
    (root / "a/4.png").write_bytes(png(9, 6))
    dataset = open_dataset(root)
    found = decoded(dataset)
    assert told(found) == [
        (2, ProblemKind.IMAGE),
        (3, ProblemKind.IMAGE),
        (4, ProblemKind.IMAGE),
        (5, ProblemKind.SIZE),
    ]
    for problem, words in zip(found, ["truncated", "not_an_image", "too_many_pixels", "file has 9 x 6"], strict=True):
        assert words in problem.message
    assert decoded(dataset, frozenset(f"{root}/a/{number}.png" for number in range(1, 5))) == []


def test_an_image_that_vanishes_meanwhile_is_a_problem(tmp_path: Path) -> None:
    (problem,) = decoded(open_dataset(write_dataset(tmp_path, [fields()], images=False)))
    assert problem.kind is ProblemKind.IMAGE
    assert "not_found" in problem.message


def test_a_dead_decoder_costs_no_other_image_its_verdict() -> None:
    with _Decoders(1, max_pixels=10_000) as decoders:
        assert decoders.size(png()) == (8, 6)
        for process in list(decoders._pool._processes.values()):
            os.kill(process.pid, 9)
        assert decoders.size(png(5, 4)) == (5, 4)
        assert decoders.size(png(4, 4)) == (4, 4)
        with pytest.raises(ImageError) as damaged:
            decoders.size(b"")
        assert damaged.value.code is ErrorCode.EMPTY


def test_files_with_the_same_bytes_are_warned_of_across_splits(tmp_path: Path) -> None:
    write_dataset(tmp_path, [fields("a.png"), fields("b.png"), fields("c.png", 0), fields("./a.png")])
    write_dataset(tmp_path, [fields("d.png"), fields("e.png")], split="val")
    (tmp_path / "e.png").write_bytes(png(9, 7))
    contents = ImageContents()
    found = [
        problem
        for name in ("train", "val")
        for problem in check_decoding(
            open_dataset(tmp_path, split=name), (), max_pixels=10**6, processes=1, contents=contents
        )
        if problem.kind is ProblemKind.CONTENT
    ]
    assert [(problem.file, problem.number, problem.message) for problem in found] == [
        ("train.json", 2, "has the bytes of a.png, train.json record 1"),
        ("train.json", 3, "has the bytes of a.png, train.json record 1, whose label is 1, not 0"),
        ("val.json", 1, "has the bytes of a.png, train.json record 1, in another split"),
    ]
    assert all(problem.kind.is_warning for problem in found)
