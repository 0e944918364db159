"""Reading labelled images: three file formats, folders, object storage, and one line for whatever cannot be read."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakevlm.data.dataset import open_dataset, split_names
from fakevlm.data.paths import path_fault
from fakevlm.data.problem import ProblemKind
from fakevlm.errors import ErrorCode, ImageError, UserError
from tests.conftest import Bucket
from tests.fakevlm.data.labelled import fields, png, write_dataset

pytestmark = pytest.mark.unit

ITEMS = [
    fields("animal/real/1.png", 1),
    fields("animal/fake/1.png", 0, source="photo-1", family="splice", severity="strong"),
    fields("animal/fake/ü 2+%.png", 0, width=None, height=None),
]


def refused(*arguments: Any, **options: Any) -> str:
    """The one line that the user gets."""
    with pytest.raises(UserError) as caught:
        open_dataset(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def faults(path: Path) -> list[tuple[ProblemKind, int | None, str]]:
    dataset = open_dataset(path, strict=False)
    return [(fault.kind, fault.number, fault.message) for fault in dataset.faults]


def test_fakeclue_as_published(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ITEMS)
    for place in (root, root / "data_json", root / "data_json" / "train.json", f"{root}/"):
        dataset = open_dataset(place)
        assert [record.to_json() for record in dataset.records] == ITEMS
        assert (dataset.root, dataset.name, dataset.split, dataset.numbers) == (
            str(root),
            "train.json",
            "train",
            (1, 2, 3),
        )
        assert dataset.read_image(dataset.records[2]) == png()


def test_jsonl_and_parquet_hold_the_same(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ITEMS)
    (root / "list.jsonl").write_text("\n\n".join(json.dumps(item) for item in ITEMS) + "\n")
    columns: dict[str, None] = dict.fromkeys(name for item in ITEMS for name in item)
    pq.write_table(pa.Table.from_pylist([columns | item for item in ITEMS]), root / "list.parquet")
    expected = open_dataset(root).records
    for name, numbers in (("list.jsonl", (1, 3, 5)), ("list.parquet", (1, 2, 3))):
        dataset = open_dataset(root / name)
        assert dataset.numbers == numbers
        assert dataset.read_image(dataset.records[0]) == png()
        assert dataset.records == expected


def test_binary_columns_of_parquet_stay_in_the_file(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{**fields(), "thumbnail": b"\xff\xd8"}]), tmp_path / "a.parquet")
    assert open_dataset(tmp_path / "a.parquet").records[0].to_json() == fields()


def test_object_storage(s3_bucket: Bucket) -> None:
    s3_bucket.put("set/data_json/train.json", json.dumps(ITEMS).encode())
    s3_bucket.put("set/data_json/test.json", json.dumps(ITEMS[:1]).encode())
    s3_bucket.put("set/animal/fake/ü 2+%.png", png())
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/set")
    assert split_names(path, fs) == ["test", "train"]
    dataset = open_dataset(path, fs, split="train")
    assert [record.to_json() for record in dataset.records] == ITEMS
    assert dataset.read_image(dataset.records[2]) == png()
    with pytest.raises(ImageError) as missing:
        dataset.read_image(dataset.records[0])
    assert missing.value.code is ErrorCode.NOT_FOUND
    assert "name one of them" in refused(path, fs)
    assert "does not exist" in refused(f"{path}-not", fs)


def test_a_folder_with_several_splits_needs_a_name(tmp_path: Path) -> None:
    write_dataset(tmp_path, ITEMS)
    write_dataset(tmp_path, ITEMS[:1], split="test")
    assert split_names(tmp_path) == ["test", "train"]
    assert split_names(tmp_path / "data_json" / "test.json") == []
    assert len(open_dataset(tmp_path, split="test").records) == 1
    assert "holds test, train; name one of them" in refused(tmp_path)
    assert "has no 'val', only test, train" in refused(tmp_path, split="val")
    assert "name its folder" in refused(tmp_path / "data_json" / "test.json", split="test")
    (tmp_path / "data_json" / "test.jsonl").touch()
    assert "holds test.json and test.jsonl; name one file" in refused(tmp_path, split="train")


def test_root_file_says_where_the_images_are(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "images", ITEMS)
    other = write_dataset(tmp_path / "lists", ITEMS, images=False)
    (other / "data_json" / "root.txt").write_text(f"{root}\n")
    dataset = open_dataset(other)
    assert dataset.root == str(root)
    assert dataset.read_image(dataset.records[0]) == png()
    (other / "data_json" / "root.txt").write_text("a\nb\n")
    assert "must hold one line" in refused(other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "nor a folder with data_json/train.json"),
        (lambda path: path.write_text("x"), "neither a file of records (.json, .jsonl, .parquet)"),
    ],
)
def test_no_dataset_there(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    make(tmp_path / "place")
    message = refused(tmp_path / "place")
    assert message.startswith("data: ")
    assert words in message


def test_a_file_that_may_not_be_read(tmp_path: Path, unprivileged: Callable[[], AbstractContextManager[None]]) -> None:
    root = write_dataset(tmp_path, ITEMS)
    file, image = root / "data_json" / "train.json", root / "animal" / "real" / "1.png"
    dataset = open_dataset(root)
    for path in [root, *root.parents]:
        if path.owner() == file.owner() and path != Path("/tmp"):
            path.chmod(0o755)
    file.chmod(0)
    image.chmod(0)
    with unprivileged():
        assert "cannot be read" in refused(file)
        with pytest.raises(ImageError) as denied:
            dataset.read_image(dataset.records[0])
    assert denied.value.code is ErrorCode.DENIED


def test_unknown_format_and_scheme(tmp_path: Path) -> None:
    write_dataset(tmp_path, ITEMS)
    assert "format: 'coco' is not one of fakeclue, loki, dd-vqa" in refused(tmp_path, record_format="coco")
    assert "data: ftpx://a cannot be opened" in refused("ftpx://a")


def test_every_malformed_record_is_found_and_the_others_read(tmp_path: Path) -> None:
    items: list[Any] = [fields(f"animal/real/{number}.png") for number in range(8)]
    items[1] = "a string"
    items[2] = {**items[2], "label": 2, "width": "wide"}
    del items[4]["cate"]
    items[5]["conversations"] = [{"from": "user", "value": "hello"}]
    items[6]["conversations"] = "hello"
    dataset = open_dataset(write_dataset(tmp_path, items, images=False), strict=False)
    assert dataset.numbers == (1, 4, 8)
    found = {fault.number: (fault.kind, fault.image, fault.message) for fault in dataset.faults}
    assert found[2] == (ProblemKind.RECORD, None, "is 'a string', not an object with fields")
    kind, image, message = found[3]
    assert (kind, image) == (ProblemKind.RECORD, "animal/real/2.png")
    assert "label: " in message
    assert "(got 2)" in message
    assert "width: " in message
    assert found[5] == (ProblemKind.RECORD, "animal/real/4.png", "cate is missing")
    assert found[6][0] is found[7][0] is ProblemKind.CONVERSATION
    assert "conversations.0.from: " in found[6][2]
    assert refused(tmp_path).startswith("data: train.json record 2: is 'a string'")
    assert refused(tmp_path).endswith("; and 4 more, see fakescan data validate")


WHOLE = json.dumps(ITEMS).encode()


@pytest.mark.parametrize(
    ("data", "read", "number", "words"),
    [
        (WHOLE[:-20], 2, 3, "the file is cut off in it"),
        (WHOLE[:-1], 3, 3, "the file ends after it, before the end of the list"),
        (WHOLE.replace(b"]}, {", b"]} {", 1), 1, 1, "there is no comma after it"),
        (WHOLE[:-1] + b",]", 3, 4, "is not JSON"),
        (WHOLE + b"x", 3, None, "goes on after the end of its list"),
        (WHOLE.replace(b'"label": 0', b'"label": zero', 1), 1, 2, "is not JSON: Expecting value in line 1 column"),
        (b"", 0, None, "is empty"),
        (b" \n", 0, None, "is empty"),
        (b"[", 0, 1, "the file is cut off in it"),
        (b"[]", 0, None, "holds no records"),
        (b'{"data": []}', 0, None, "holds an object, not a list of records"),
        (b"null", 0, None, "holds null, not a list"),
        (b"not json", 0, None, "is not a JSON list of records"),
        (b'{"a": 1}\n{"a": 2}\n', 0, None, "must be named .jsonl"),
        (b"[" * 100_000, 0, None, "nested too deeply"),
        (b'[{"label": ' + b"1" * 5_000 + b"}]", 0, None, "holds a number of thousands of digits"),
        (WHOLE.replace(b"even", b"ev\xe9n", 1), 3, None, "is not UTF-8: byte 0xe9"),
        (b"\xef\xbb\xbf" + WHOLE, 3, None, ""),
    ],
)
def test_damaged_json(data: bytes, read: int, number: int | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(data)
    dataset = open_dataset(path, strict=False)
    assert [record.image for record in dataset.records] == [item["image"] for item in ITEMS[:read]]
    if not words:
        assert dataset.faults == ()
        return
    (fault,) = dataset.faults
    assert fault.number == number
    assert words in fault.message
    assert words in refused(path)


def test_a_field_that_a_record_has_twice_is_a_fault(tmp_path: Path) -> None:
    sound = json.dumps(fields())
    twice = [
        sound.replace('"label": 1', '"label": 1, "label": 0'),
        sound.replace('"from": "human"', '"from": "human", "from": "gpt"'),
        sound.replace('"width": 8', '"width": 8, "more": {"a": 1, "a": 2}'),
    ]
    (tmp_path / "list.json").write_text(f"[{', '.join([sound, *twice])}]")
    (tmp_path / "list.jsonl").write_text("\r\n".join([sound, *twice]))
    for name in ("list.json", "list.jsonl"):
        assert open_dataset(tmp_path / name, strict=False).numbers == (1,)
        assert [message for _, _, message in faults(tmp_path / name)] == [
            "has the field 'label' twice",
            "conversations.0: has the field 'from' twice",
            "has the field 'a' twice",
        ]


def test_a_last_line_that_is_cut_off_is_told_as_such(tmp_path: Path) -> None:
    whole = json.dumps(fields())
    for cut in (whole[:-1], whole[:-30], whole[: whole.index("human") + 2]):
        (tmp_path / "list.jsonl").write_text(f"{whole}\n{cut}")
        assert faults(tmp_path / "list.jsonl") == [(ProblemKind.RECORD, 2, "the file is cut off in it")]
        (tmp_path / "list.jsonl").write_text(f"{cut}\n{whole}")
        assert "is not JSON" in faults(tmp_path / "list.jsonl")[0][2], "in the middle it is no cut"


def test_image_root_and_folder(tmp_path: Path) -> None:
    images = write_dataset(tmp_path / "images", [fields("a/1.png")])
    items = [
        fields("/mnt/set/a/1.png"), fields("/mnt/settle/a/1.png"), fields("a/1.png"), fields("C:\\set\\a\\1.png"),
        fields("/mnt/set//a/1.png"),
    ]  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps(items))
    for prefix in ("/mnt/set", "/mnt/set/"):
        dataset = open_dataset(tmp_path / "list.json", image_root=prefix, image_folder=str(images))
        assert [record.image for record in dataset.records] == [
            "a/1.png", "/mnt/settle/a/1.png", "a/1.png", "C:\\set\\a\\1.png", "a/1.png",
        ]  # fmt: skip
        assert dataset.read_image(dataset.records[0]) == png()
    windows = open_dataset(tmp_path / "list.json", image_root="C:/set")
    assert windows.records[3].image == "a/1.png"
    bucket = [fields("s3://bucket/set/a.png")]
    (tmp_path / "list.json").write_text(json.dumps(bucket))
    assert open_dataset(tmp_path / "list.json", image_root="s3://bucket/set").records[0].image == "a.png"


def test_damaged_jsonl_loses_single_lines_only(tmp_path: Path) -> None:
    lines = [json.dumps(item).encode() for item in ITEMS]
    path = tmp_path / "list.jsonl"
    path.write_bytes(b"\n".join([lines[0], lines[1][:-5], b"\xff", b"[]", b"[" * 100_000, lines[2]]))
    assert open_dataset(path, strict=False).numbers == (1, 6)
    found = faults(path)
    assert [number for _, number, _ in found] == [2, 3, 4, 5]
    for (_, _, message), words in zip(found, ["is not JSON", "not UTF-8", "not an object", "too deeply"], strict=True):
        assert words in message


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    path.write_bytes(b"PAR1 and no more")
    assert [(kind, number) for kind, number, _ in faults(path)] == [(ProblemKind.FILE, None)]
    assert "cannot be read as Parquet" in refused(path)
    pq.write_table(pa.table({"image": ["a.png"], "label": [1]}), path)
    assert refused(path).endswith("cate is missing; conversations is missing")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("a/b.png", None),
        ("./a//b.png", None),
        ("a/..b.png", None),
        ("", "names no file"),
        (".", "names no file"),
        ("a/", "names no file"),
        ("/etc/passwd", "is absolute"),
        ("s3://bucket/a.png", "is absolute"),
        ("C:\\a.png", "is absolute"),
        ("a\\b.png", "backslash"),
        ("a\0.png", "NUL"),
        ("a\udcff.png", "surrogate"),
        ("../a.png", ".."),
        ("a/../../b.png", ".."),
    ],
)
def test_paths_stay_in_the_dataset(image: str, words: str | None, tmp_path: Path) -> None:
    fault = path_fault(image)
    assert (fault is None) if words is None else (words in str(fault))
    dataset = open_dataset(write_dataset(tmp_path, [fields(image)], images=False))
    if words is not None:
        with pytest.raises(UserError, match="find all such with fakescan data validate"):
            dataset.read_image(dataset.records[0])
    else:
        assert dataset.image_path(dataset.records[0]).startswith(f"{tmp_path}/a/")
