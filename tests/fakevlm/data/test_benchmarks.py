"""Records of LOKI and DD-VQA become FakeClue's, in the shapes that docs/data.md assumes."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakevlm.data.checks import check_records
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.problem import ProblemKind

pytestmark = pytest.mark.unit


def opened(tmp_path: Path, record_format: str, *items: dict[str, Any]) -> Dataset:
    (tmp_path / "list.json").write_text(json.dumps(items))
    return open_dataset(tmp_path / "list.json", record_format=record_format, strict=False)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("animals", "animal"),
        ("doc", "doc"),
        ("medicine", "medicine"),
        ("object", "object"),
        ("person", "human"),
        ("satellite", "satellite"),
        ("scene", "scene"),
    ],
)
def test_loki_categories(theirs: str, ours: str, tmp_path: Path) -> None:
    field = {"image_path": "x/7.jpg", "label": "fake", "category": theirs}
    folder = {"image": f"image/{theirs}/real/7.jpg"}
    dataset = opened(tmp_path, "loki", field, folder)
    assert [(record.cate, record.label) for record in dataset.records] == [(ours, 0), (ours, 1)]
    assert [record.answer for record in dataset.records] == ["This is a fake image.", "This is a real image."]
    assert check_records([dataset]) == []


def test_medicine_is_unknown_outside_of_loki(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(
        json.dumps([opened(tmp_path, "loki", {"image": "medicine/real/1.png"}).records[0].to_json()])
    )
    assert [problem.kind for problem in check_records([open_dataset(tmp_path / "list.json")])] == [ProblemKind.CATEGORY]


def test_loki_explanations_follow_the_verdict(tmp_path: Path) -> None:
    item = {"image": "person/a.jpg", "label": "Fake", "explanation": "Six fingers on the left hand.", "model": "M"}
    (record,) = opened(tmp_path, "loki", item, {"image": "a.jpg", "label": 1}, {"image": "doc/a.jpg"}).records
    assert record.answer == "This is a fake image. Six fingers on the left hand."
    assert record.to_json()["model"] == "M"
    dataset = opened(tmp_path, "loki", {"image": "a.jpg", "label": 1}, {"image": "doc/a.jpg"}, {"label": 0})
    assert [fault.message.partition(":")[0] for fault in dataset.faults] == [
        "has no category",
        "has no label",
        "has no image path",
    ]


def test_loki_oddities_are_told_not_guessed(tmp_path: Path) -> None:
    dataset = opened(
        tmp_path,
        "loki",
        {"image": "a.jpg", "label": "maybe", "category": "doc"},
        {"image": "a.jpg", "label": 1, "category": ["doc"]},
        {"image": "b.jpg", "label": "real", "category": "video"},
        {"image": "c.jpg", "label": "real", "category": "doc", "explanation": "This document is fake."},
    )
    assert [fault.number for fault in dataset.faults] == [1, 2]
    assert [(problem.number, problem.kind) for problem in check_records([dataset])][2:] == [
        (3, ProblemKind.CATEGORY),
        (4, ProblemKind.LABEL),
    ]


def test_dd_vqa(tmp_path: Path) -> None:
    frame = {"image": "ff++/fake/Deepfakes/000_003/160.png", "question": "Does the person look fake?"}
    dataset = opened(
        tmp_path,
        "dd-vqa",
        {**frame, "answer": "The person looks fake. The eyes are blurred."},
        {"image": "manipulated_sequences/FaceSwap/1.png", "answer": "Blurred eyes."},
        {"image_path": "f/2.png", "answer": "This is a real image. Nothing is odd."},
        {"image_path": "f/3.png", "label": 0, "answer": "fake."},
        {"image_path": "f/4.png", "label": 0, "answer": "The face is real."},
        {"image_path": "f/5.png", "answer": "The eyes are blurred."},
        {"image_path": "f/6.png"},
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
    loki = opened(tmp_path, "loki", {"image": "animals/1.jpg", "label": 1, "conversations": turns}).records[0]
    dd_vqa = opened(tmp_path, "dd-vqa", {"image": "a/1.jpg", "label": 1, "conversations": turns}).records[0]
    assert loki.question == dd_vqa.question == "<image>Real?"
