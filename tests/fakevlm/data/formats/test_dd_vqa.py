"""DD-VQA as FakeClue's records: the published object with FaceForensics++'s frames, and lists that name frames."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fakevlm.data.checks import check_records
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.problem import ProblemKind
from fakevlm.errors import UserError
from tests.fakevlm.data.labelled import png
from tests.fakevlm.data.published import dd_vqa

pytestmark = pytest.mark.unit

FRAMES = "manipulated_sequences/Deepfakes/c23/frames/114_102"
ORIGINAL = "original_sequences/youtube/c23/frames/044"


def frames(root: Path, folder: str, *names: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / folder / name).write_bytes(png())


def opened(root: Path, contents: object, **options: Any) -> Dataset:
    (root / "test.json").write_text(json.dumps(contents))
    return open_dataset(root / "test.json", record_format="dd-vqa", strict=False, **options)


def test_one_question_per_frame_in_order(tmp_path: Path) -> None:
    frames(tmp_path, FRAMES, "10.png", "9.png", "100.png", "011.png")
    frames(tmp_path, FRAMES.replace("frames", "masks"), "9.png")
    frames(tmp_path, FRAMES.replace("Deepfakes", "FaceSwap"), "1.png")
    frames(tmp_path, ORIGINAL, "000.png", "001.png", "002.png")
    dataset = opened(tmp_path, dd_vqa("0_114_102", "5_044"))
    assert dataset.faults == ()
    assert [(record.image.rpartition("/")[2], record.is_fake) for record in dataset.records] == [
        ("9.png", True), ("10.png", True), ("011.png", True),
        ("000.png", False), ("001.png", False), ("002.png", False),
    ]  # fmt: skip
    assert dataset.records[0].image == f"{FRAMES}/9.png"
    assert dataset.records[3].image == f"{ORIGINAL}/000.png"
    assert dataset.numbers == (1, 2, 3, 4, 5, 6)
    first = dataset.records[1].to_json()
    assert first["answers"] == ["The skin looks fake. It is as it is.", "The skin looks fake. It is seen again."]
    assert (first["video"], first["question_id"], first["cate"]) == ("0_114_102", "1", "deepfake")
    assert dataset.records[1].answer.startswith("This is a fake image. The skin looks fake.")
    assert check_records([dataset]) == []


def test_the_authors_frames_are_one_for_a_video(tmp_path: Path) -> None:
    frames(tmp_path, "frames", "0_114_102.jpg", "5_044.jpg")
    dataset = opened(tmp_path, dd_vqa("0_114_102", "5_044"))
    assert [record.image for record in dataset.records] == ["frames/0_114_102.jpg"] * 3 + ["frames/5_044.jpg"] * 3
    assert dataset.faults == ()


def test_frames_elsewhere(tmp_path: Path) -> None:
    frames(tmp_path / "ff", FRAMES, "1.png", "2.png", "3.png")
    dataset = opened(tmp_path, dd_vqa("0_114_102"), image_folder=str(tmp_path / "ff"))
    assert dataset.root == str(tmp_path / "ff")
    assert [dataset.read_image(record) for record in dataset.records] == [png()] * 3


def test_the_published_folder_has_a_file_for_each_method(tmp_path: Path) -> None:
    for name, video in (("Deepfakes", "0_114_102"), ("Original", "5_044")):
        (tmp_path / "test_set" / name).mkdir(parents=True)
        (tmp_path / "test_set" / name / f"{name}.json").write_text(json.dumps(dd_vqa(video)))
    frames(tmp_path, "frames", "0_114_102.jpg", "5_044.jpg")
    dataset = open_dataset(tmp_path / "test_set", record_format="dd-vqa", image_folder=str(tmp_path / "frames"))
    assert [record.is_fake for record in dataset.records] == [True] * 3 + [False] * 3
    assert dataset.numbers == (1, 2, 3, 4, 5, 6)
    with pytest.raises(UserError, match="nor a folder with data_json"):
        open_dataset(tmp_path / "test_set")


def test_frames_that_are_missing_are_named(tmp_path: Path) -> None:
    frames(tmp_path, FRAMES, "1.png", "2.png")
    frames(tmp_path, "ff++/fake/Face2Face/000_003", "1.png")
    frames(tmp_path, "c40/Face2Face/000_003", "1.png")
    dataset = opened(tmp_path, dd_vqa("0_114_102", "3_114_102", "1_000_003"))
    assert [record.image for record in dataset.records] == [f"{FRAMES}/1.png", f"{FRAMES}/2.png"]
    assert [fault.message for fault in dataset.faults] == [
        f"0_114_102, question 2: has no frame: {FRAMES} holds 2",
        f"3_114_102 has no frames below {tmp_path}: neither a file 3_114_102.jpg nor a folder faceswap/…/114_102",
        "1_000_003 has frames in c40/Face2Face/000_003, ff++/fake/Face2Face/000_003; name the folder around one of "
        "them with --image-folder",
    ]


def test_links_among_the_frames(tmp_path: Path) -> None:
    frames(tmp_path / "elsewhere", "114_102", "1.png", "2.png", "3.png")
    (tmp_path / "set" / "Deepfakes").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere" / "114_102", tmp_path / "set" / "Deepfakes" / "114_102")
    os.symlink(tmp_path / "set", tmp_path / "set" / "Deepfakes" / "again")
    assert len(opened(tmp_path / "set", dd_vqa("0_114_102")).records) == 3


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ('{"0_1": {"0": {"question": "?", "answer": []}}}', "has no answers"),
        ('{"0_1": {"0": {"question": "?", "answer": [null]}}}', "has no answers"),
        ('{"0_1": {"0": {"question": null, "answer": ["fake"]}}}', "has no text under question"),
        ('{"0_1": ["fake"]}', "holds no questions by their ids"),
        ('{"0_1": {"0": []}}', "has no answers"),
        ('{"0_1": {"0": {}, "0": {}}}', "occurs twice"),
        ('{"0_1": {}, "0_1": {}}', "has the field '0_1' twice"),
        ('{"0_1": {"0": {"question": "?", "answer": ["fa', "the file is cut off"),
        ('{"4_1": {"0": {"question": "?", "answer": ["Odd."]}}}', "method 4 is unknown"),
        ('{"0_1": 5}', "holds no questions"),
        ("{}", "holds no records"),
        ("5", "not a list of records"),
    ],
)
def test_damaged_objects(contents: str, words: str, tmp_path: Path) -> None:
    frames(tmp_path, "frames", "0_1.jpg", "4_1.jpg")
    (tmp_path / "test.json").write_bytes(b"\xef\xbb\xbf" + contents.replace(" ", "\r\n ").encode())
    dataset = open_dataset(tmp_path / "test.json", record_format="dd-vqa", strict=False)
    assert dataset.records == ()
    assert words in dataset.faults[0].message


def test_lists_that_name_their_frames(tmp_path: Path) -> None:
    frame = {"image": "ff++/fake/Deepfakes/000_003/160.png", "question": "Does the person look fake?"}
    dataset = opened(
        tmp_path,
        [
            {**frame, "answer": "The person looks fake. The eyes are blurred."},
            {"image": "manipulated_sequences/FaceSwap/1.png", "answer": "Blurred eyes."},
            {"image_path": "f/2.png", "answer": "This is a real image. Nothing is odd."},
            {"image_path": "f/3.png", "label": 0, "answer": "fake."},
            {"image_path": "f/4.png", "label": 0, "answer": "The face is real."},
            {"image_path": "f/5.png", "answer": "The eyes are blurred."},
            {"image_path": "f/6.png"},
        ],
    )
    assert [(record.label, record.answer) for record in dataset.records] == [
        (0, "This is a fake image. The person looks fake. The eyes are blurred."),
        (0, "This is a fake image. Blurred eyes."),
        (1, "This is a real image. Nothing is odd."),
        (0, "This is a fake image."),
        (0, "The face is real."),
    ]
    assert {record.cate for record in dataset.records} == {"deepfake"}
    assert dataset.records[0].question == "<image>Does the person look fake?"
    assert [(fault.number, fault.message.partition(":")[0]) for fault in dataset.faults] == [
        (6, "has no label"),
        (7, "has no answer"),
    ]
    assert [problem.number for problem in check_records([dataset]) if problem.kind is ProblemKind.LABEL] == [5]


def test_records_with_conversations_of_their_own_keep_them(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>Real?"}, {"from": "gpt", "value": "This is a real image."}]
    (record,) = opened(tmp_path, [{"image": "a/1.jpg", "label": 1, "conversations": turns}]).records
    assert (record.question, record.answer) == ("<image>Real?", "This is a real image.")
