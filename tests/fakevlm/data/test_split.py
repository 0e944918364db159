"""Splits: no source on both sides, shares as asked, the same for any order of records, and files that read back."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakevlm.data.dataset import open_dataset
from fakevlm.data.groups import sources
from fakevlm.data.record import Record
from fakevlm.data.split import Split, parse_shares, split_files, split_records
from fakevlm.errors import UserError
from tests.fakevlm.data.labelled import fields, record, write_dataset

pytestmark = pytest.mark.unit

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def videos(count: int, frames: int) -> list[Record]:
    """FF++ as it is: every manipulated video has a partner with the two ids exchanged."""
    found = []
    for first in range(0, count, 2):
        a, b = f"{first:03}", f"{first + 1:03}"
        for frame in range(frames):
            found += [record(f"ff++/real/{video}/{frame}.png", 1, cate="deepfake") for video in (a, b)]
            for pair in (f"{a}_{b}", f"{b}_{a}"):
                found += [record(f"ff++/fake/{how}/{pair}/{frame}.png", 0, cate="deepfake") for how in ("df", "fs")]
    return found


def shares_of(records: list[Record], splits: list[Split], label: int) -> dict[str, float]:
    total = sum(record.label == label for record in records)
    return {split.name: sum(records[index].label == label for index in split.indices) / total for split in splits}


def assert_divides(records: list[Record], splits: list[Split]) -> None:
    """Every record in exactly one split, and every source too."""
    assert sorted(index for split in splits for index in split.indices) == list(range(len(records)))
    home: dict[str, str] = {}
    for split in splits:
        for index in split.indices:
            for source in sources(records[index]):
                assert home.setdefault(source, split.name) == split.name


@given(
    st.lists(
        st.tuples(st.sampled_from(["real", "fake"]), st.integers(0, 30), st.integers(0, 30), st.integers(0, 5)),
        min_size=1,
        max_size=80,
    ),
    st.integers(0, 3),
)
def test_no_source_in_two_splits(frames: list[tuple[str, int, int, int]], seed: int) -> None:
    records = []
    for kind, one, other, frame in frames:
        label = int(kind == "real")
        video = f"{one:03}" if label else f"{one:03}_{other:03}"
        records.append(record(f"ff++/{kind}/{video}/{frame}.png", label, cate="deepfake"))
        records.append(record(f"animal/{kind}/img{one}_{frame}.png", label))
        records.append(record(f"x{frame}.png", label, source=f"photo-{other}"))
    try:
        splits = split_records(records, SHARES, seed=seed)
    except UserError:  # a split would be empty
        return
    assert_divides(records, splits)


@given(st.integers(0, 2**32), st.randoms())
def test_the_order_of_records_does_not_matter(seed: int, dice: random.Random) -> None:
    records = [*videos(20, 2), *(record(f"doc/real/{number}.png", cate="doc") for number in range(20))]
    mixed = records.copy()
    dice.shuffle(mixed)
    assigned = [
        {
            split.name: {items[index].image for index in split.indices}
            for split in split_records(items, shares, seed=seed)
        }
        for items, shares in ((records, SHARES), (mixed, dict(reversed(SHARES.items()))))
    ]
    assert assigned[0] == assigned[1]


def test_seeds_differ() -> None:
    records = [record(f"doc/real/{number}.png", cate="doc") for number in range(200)]
    found = {split_records(records, SHARES, seed=seed)[1].indices for seed in range(5)}
    assert len(found) == 5


@pytest.mark.parametrize("shares", [SHARES, {"a": 0.5, "b": 0.5}, {"a": 0.98, "b": 0.02}])
def test_shares_hold_for_each_label_and_category(shares: dict[str, float]) -> None:
    dice = random.Random(1)
    records = videos(200, 3)
    for category, count in (("animal", 700), ("doc", 130), ("scene", 30)):
        for number in range(count):
            crops = range(dice.choice([1, 1, 1, 4]))
            records += [
                record(f"{category}/x/p{number}_crop{crop}.png", number % 3 // 2, cate=category) for crop in crops
            ]
    splits = split_records(records, shares, seed=3)
    assert_divides(records, splits)
    for label in (0, 1):
        for name, share in shares_of(records, splits, label).items():
            assert share == pytest.approx(shares[name], abs=0.01)
    for split in splits:
        for category in ("animal", "deepfake"):
            total = sum(item.cate == category for item in records)
            own = sum(records[index].cate == category for index in split.indices)
            assert own / total == pytest.approx(shares[split.name], abs=0.03)


def test_small_categories_do_not_all_go_to_the_biggest_split() -> None:
    records = [record(f"{name}/{n}.png", n % 2, cate=name) for name in "abcdefg" for n in range(6)]
    splits = split_records(records, SHARES, seed=0)
    assert [len(split.indices) for split in splits] == [pytest.approx(size, abs=1.5) for size in (33.6, 4.2, 4.2)]
    assert all(Counter(records[index].label for index in split.indices).keys() == {0, 1} for split in splits)


def test_one_image_in_two_records_is_one_source() -> None:
    records = [record(f"doc/{n}.png", source=f"s{n}-{copy}") for n in range(40) for copy in range(2)]
    for split in split_records(records, SHARES, seed=0):
        assert all(index ^ 1 in split.indices for index in split.indices)


def test_sources_that_cannot_be_divided() -> None:
    giant = [record(f"doc/{n}.png", source="one") for n in range(90)]
    with pytest.raises(UserError, match=r"^shares: \w+ would be empty; 1 sources are too few for these shares$"):
        split_records(giant, SHARES, seed=0)
    splits = split_records([*giant, *(record(f"doc/{n}.png") for n in range(90, 100))], SHARES, seed=0)
    assert {split.name: len(split.indices) for split in splits} == {"train": 90, "val": 5, "test": 5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train=0.8,val=0.1", "they sum to 0.9, must sum to 1"),
        ("train=0.8,val=0.3", "they sum to 1.1"),
        ("train=1", "above 0 and below 1, got 1"),
        ("train=1.0,val=0", "above 0 and below 1"),
        ("train=0.5,val=-0.5,test=1.0", "above 0 and below 1"),
        ("train=nan,val=1", "above 0 and below 1"),
        ("train=half,val=0.5", "not a number: 'half'"),
        ("train=0.5,train=0.5", "train is named twice"),
        ("train,val", "'train' is not NAME=SHARE"),
        ("a/b=0.5,c=0.5", "'a/b=0.5' is not NAME=SHARE"),
        ("", "is not NAME=SHARE"),
    ],
)
def test_wrong_shares(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_shares(text)
    assert str(caught.value).startswith("shares: ")
    assert words in str(caught.value)


def test_shares_are_read() -> None:
    assert parse_shares("train=0.8, val=0.1,test=.1") == SHARES


def write(folder: Path, root: Path, **options: int) -> dict[str, bytes]:
    dataset = open_dataset(root / "all.jsonl")
    splits = split_records(dataset.records, {"train": 0.5, "val": 0.5}, **({"seed": 0} | options))
    files = split_files(dataset, splits, dataset.fs, str(folder))
    for path, data in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    return files


def test_written_splits_read_back_and_find_their_images(tmp_path: Path) -> None:
    items = [fields(f"animal/{n}ü.png", n % 2, generator={"name": "X"}) for n in range(10)]
    root = write_dataset(tmp_path / "set", items)
    (root / "data_json" / "train.json").unlink()
    (root / "all.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    for folder in (root, tmp_path / "elsewhere"):
        files = write(folder, root)
        assert (folder / "data_json" / "root.txt").exists() is (folder != root)
        found = []
        for name in ("train", "val"):
            dataset = open_dataset(folder, split=name)
            assert len(dataset.records) == 5
            assert all(dataset.read_image(record) for record in dataset.records)
            found += [record.to_json() for record in dataset.records]
        assert sorted(found, key=lambda item: str(item["image"])) == items
        assert write(folder, root) == files  # again the same, which is no conflict


def test_other_records_are_not_overwritten(tmp_path: Path) -> None:
    items = [fields(f"animal/{n}.png", n % 2) for n in range(10)]
    for name in ("set", "other"):
        root = write_dataset(tmp_path / name, items)
        (root / "all.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    with pytest.raises(UserError, match=r"train\.json exists and is another"):
        write(tmp_path / "set", tmp_path / "set")
    with pytest.raises(UserError, match="holds records of images in another folder"):
        write(tmp_path / "set", tmp_path / "other")
    write(tmp_path / "out", tmp_path / "set")
    with pytest.raises(UserError, match="exists and is another"):
        write(tmp_path / "out", tmp_path / "set", seed=1)
    with pytest.raises(UserError, match="holds records of images in another folder"):
        write(tmp_path / "out", tmp_path / "other")
