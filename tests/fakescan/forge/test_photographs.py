"""Photographs: found, told apart from what is none, and put into categories and splits."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fakescan.forge.config import ForgeConfig
from fakescan.forge.photographs import find_photographs
from fakevlm.errors import UserError
from tests.conftest import Bucket

pytestmark = pytest.mark.unit


def config(folder: Path | str, **settings: Any) -> ForgeConfig:
    return ForgeConfig.model_validate({"photographs": str(folder), "output": f"{folder}-out", **settings})


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")
    return folder


def test_subfolders_say_what_is_shown(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a.JPG", "Animal/x.png", "doc/deep/er/y.webp", "other/animal/z.tif", "scene.jpeg")
    found = find_photographs(config(folder, category="object"))
    assert [(item.path, item.category, item.size) for item in found.items] == [
        ("Animal/x.png", "animal", 5),
        ("a.JPG", "object", 5),
        ("doc/deep/er/y.webp", "doc", 5),
        ("other/animal/z.tif", "object", 5),
        ("scene.jpeg", "object", 5),
    ]


def test_what_is_no_photograph_is_left_out(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a.jpg", "notes.txt", ".hidden.jpg", ".git/b.jpg", "out/scene/real/c.jpg")
    found = find_photographs(config(folder, output=str(folder / "out")))
    assert [item.path for item in found.items] == ["a.jpg"]


def test_a_folder_without_photographs_is_one_line(tmp_path: Path) -> None:
    for folder, words in (
        (tmp_path / "none", "no such file or folder"),
        (touch(tmp_path / "text", "a.txt"), "holds no images"),
        (touch(tmp_path / "labelled", "animal/real/a.jpg", "animal/fake/b.jpg"), "a folder named fake"),
        (touch(tmp_path / "odd", "a\nb.jpg"), "rename the file"),
    ):
        with pytest.raises(UserError, match=words) as error:
            find_photographs(config(folder))
        assert "\n" not in str(error.value)


def test_the_fingerprint_is_of_names_and_sizes(tmp_path: Path) -> None:
    folder = touch(tmp_path / "p", "a.jpg", "b.jpg")
    before = find_photographs(config(folder)).fingerprint
    assert find_photographs(config(folder, seed=5)).fingerprint == before
    (folder / "b.jpg").write_bytes(b"longer than before")
    assert find_photographs(config(folder)).fingerprint != before
    touch(folder, "b.jpg", "c.jpg")
    assert find_photographs(config(folder)).fingerprint != before
    (folder / "c.jpg").unlink()
    assert find_photographs(config(folder)).fingerprint == before


def test_splits_have_their_shares_of_every_category(tmp_path: Path) -> None:
    folder = touch(
        tmp_path / "p", *(f"{name}/{number}.jpg" for name in ("animal", "doc", "human") for number in range(20))
    )
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    found = find_photographs(config(folder, shares=shares))
    assert Counter(item.split for item in found.items) == {"train": 48, "val": 6, "test": 6}
    assert Counter((item.category, item.split) for item in found.items if item.split != "train") == {
        (name, split): 2 for name in ("animal", "doc", "human") for split in ("val", "test")
    }
    assert find_photographs(config(folder, shares=shares)) == found
    assert find_photographs(config(folder, shares=shares, seed=1)).items != found.items
    with pytest.raises(UserError, match="split_shares: rare would be empty"):
        find_photographs(config(folder, shares={"train": 0.999, "rare": 0.001}))


def test_a_photograph_draws_the_same_whatever_lies_beside_it(tmp_path: Path) -> None:
    alone = find_photographs(config(touch(tmp_path / "p", "m.jpg"))).items[0]
    among = find_photographs(config(touch(tmp_path / "q", "a.jpg", "m.jpg", "z.jpg"))).items
    assert alone == among[1]
    assert alone.generator(3, 0).random() == among[1].generator(3, 0).random()
    assert len({item.generator(3, number).random() for item in among for number in range(5)}) == 15


def test_photographs_in_a_bucket(s3_bucket: Bucket) -> None:
    s3_bucket.put("photos/animal/ü +%.jpg", b"123")
    s3_bucket.put("photos/b.png", b"1234")
    found = find_photographs(config(f"{s3_bucket.url}/photos", input_store=s3_bucket.store, output="/tmp/out"))
    assert [(item.path, item.size, item.category) for item in found.items] == [
        ("animal/ü +%.jpg", 3, "animal"),
        ("b.png", 4, "scene"),
    ]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("families", ["halo", "moire"], "unknown: moire"),
        ("families", [], "at least one of checkerboard"),
        ("severities", ["weak"], "unknown: weak"),
        ("category", "medicine", "unknown: medicine"),
        ("edge", 16, "greater than or equal to 32"),
        ("per_photo", 0, "greater than or equal to 1"),
        ("per_foto", 3, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(setting: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config("p", **{setting: value})


def test_the_order_of_names_does_not_matter() -> None:
    one = config("p", families=["halo", "warp"], severities=["strong", "subtle"])
    other = config("p", families=["warp", "halo", "warp"], severities=["subtle", "strong"])
    assert one == other
