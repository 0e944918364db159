"""Files of answers in every format, and what is said of those that cannot be used."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakevlm.errors import UserError
from fakevlm.metrics.answers_file import IMAGE_KEYS, TEXT_KEYS, ModelAnswer, read_answers

pytestmark = pytest.mark.unit

ROWS: list[dict[str, Any]] = [
    {
        "image": "ff++/fake/1.png",
        "answer": 'This is a fake image. Six fingers,\nthree "hands".',
        "score": 0.9,
        "label": 0,
    },
    {"image": "b ü 文.jpg", "answer": "", "score": None, "label": 1},
    {"image": "c.png", "answer": "This is a real image. " * 500, "score": 0.0, "label": None},
]
ANSWERS = tuple(
    ModelAnswer(image=row["image"], text=row["answer"], score=row["score"], label=row["label"]) for row in ROWS
)


def _write(path: Path, content: str | bytes | object) -> Path:
    path.write_bytes(
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )
    return path


def _write_csv(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_same_answers_in_every_format(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    files = [
        _write(tmp_path / "a.json", ROWS),
        _write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in ROWS) + "\n\n"),
        _write_csv(tmp_path / "a.CSV", ROWS),
        _write_csv(tmp_path / "bom.csv", ROWS, "utf-8-sig"),
        tmp_path / "a.parquet",
    ]
    for file in files:
        assert read_answers(file) == ANSWERS


def test_an_object_by_image(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.json", "\ufeff \n" + json.dumps({"a.png": "Fake.", "answer": "", "7": "Real."}))
    assert [(row.image, row.text) for row in read_answers(file)] == [("a.png", "Fake."), ("answer", ""), ("7", "Real.")]


@pytest.mark.parametrize("image_key", IMAGE_KEYS)
@pytest.mark.parametrize("text_key", TEXT_KEYS)
def test_every_name_of_a_field(tmp_path: Path, image_key: str, text_key: str) -> None:
    file = _write(tmp_path / "a.json", [{text_key: "Real.", image_key: "a.png", "logit": -3, "model": "other"}])
    assert read_answers(file) == (ModelAnswer(image="a.png", text="Real.", logit=-3.0),)


def test_the_image_comes_before_the_id_and_an_id_may_be_a_number(tmp_path: Path) -> None:
    rows = [{"id": 7, "image": "a.png", "text": ""}, {"id": 8, "image": None, "text": ""}]
    assert [row.image for row in read_answers(_write(tmp_path / "a.json", rows))] == ["a.png", "8"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "Real."}, "names no image: none of image, image_path, uri, path, id"),
        ({"image": "", "answer": "Real."}, "image: .* at least 1 character"),
        ({"path": ["a.png"], "answer": "Real."}, r"path: .* valid string \(got \['a.png'\]\)"),
        ({"id": True, "answer": "Real."}, r"id: .* valid string \(got True\)"),
        ({"image": "a.png"}, r"\(a.png\): has no answer: none of answer, response"),
        ({"image": "a.png", "answer": None}, "has no answer"),
        ({"image": "a.png", "response": 3}, r"response: .* valid string \(got 3\)"),
        ({"image": "a.png", "prediction": "fake", "explanation": "Six."}, "keep one of prediction, explanation"),
        ({"image": "a.png", "answer": "", "score": 1.5}, r"score: .* \(got 1.5\)"),
        ({"image": "a.png", "answer": "", "score": float("nan")}, r"score: .* \(got nan\)"),
        ({"image": "a.png", "answer": "", "score": True}, "score: .*not true or false"),
        ({"image": "a.png", "answer": "", "logit": "high"}, r"logit: .* \(got 'high'\)"),
        ({"image": "a.png", "answer": "", "logit": float("inf")}, r"logit: .* \(got inf\)"),
        ({"image": "a.png", "answer": "", "label": 2}, r"label: .* \(got 2\)"),
        ({"image": "a.png", "answer": "", "label": False}, "label: .*not true or false"),
        ({"image": "a.png", "answer": "", "label": "fake"}, r"label: .* \(got 'fake'\)"),
        ({"image": "a.png", "answer": "half \ud83d"}, "answer: .*half of a surrogate pair"),
        ({"image": "b.png", "answer": ""}, r"\(b.png\): is answered in record 1 already"),
        ("Real.", "is 'Real.', not an object"),
        (None, "is None, not an object"),
    ],
)
def test_a_malformed_record_is_named(tmp_path: Path, row: object, message: str) -> None:
    file = _write(tmp_path / "a.json", [{"image": "b.png", "answer": ""}, row])
    with pytest.raises(UserError, match=rf"^answers: a\.json record 2.*{message}[^;\n]*$"):
        read_answers(file)


def test_all_malformed_records_are_one_error(tmp_path: Path) -> None:
    lines = ['{"image": "a", "text": "Real."}', "", "{", '{"image": "a\\nb"}', '{"image": "a", "text": "Fake."}', "[]"]
    with pytest.raises(UserError, match=r"^answers: a\.jsonl record 3: is not JSON: .*; and 3 more$"):
        read_answers(_write(tmp_path / "a.jsonl", "\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"", "is empty"),
        ("a.json", b"[]", "holds no answers"),
        ("a.json", b"{}", "holds no answers"),
        ("a.jsonl", b"\n \n", "holds no answers"),
        ("a.csv", b"", "holds no answers"),
        ("a.csv", b"image,answer\n", "holds no answers"),
        ("a.parquet", b"", "cannot be read as Parquet"),
        ("a.json", b"3", "not a list of records"),
        ("a.json", b'{"image": "a", "answer": ""}', "must be named .jsonl"),
        ("a.json", b'{"image": "a", "answer": ""}\n{"image": "b", "answer": ""}', "must be named .jsonl"),
        ("a.json", b'{"a": "Real.", "b": "Fake.", "a": "Fake."}', r"record 3 \(a\): is answered in record 1 already"),
        ("a.json", b'{"a": {"text": "Real."}, "b": 3, "c": null}', "a.json record 1 .*and 2 more"),
        ("a.json", b'[{"image": "a", "answer": ""}, {"ima', "record 2: the file is cut off in it"),
        ("a.json", b'{"a": "\xff"}', "is not UTF-8"),
        ("a.csv", b"image,answer\na,\xff\n", "is not UTF-8"),
        ("a.csv", b"image,answer\na,one, two\n", "record 1: has more or fewer cells"),
        ("a.csv", b"image,answer\na\n", "record 1: has more or fewer cells"),
        ("a.csv", b'image,answer\na,one\nb,"two\n', "record 2: is not CSV"),
        ("a.csv", b"image,answer,answer\na,one,two\n", "gives two columns the same name"),
        ("a.csv", b"image;answer\na;one\n", "record 1: has no answer"),
        ("a.csv", b"image,answer,score\na,one,\nb,two,high\n", r"record 2 \(b\): score"),
        ("a.txt", b"Real.", "is not named .csv, .json, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"^answers: .*{message}") as caught:
        read_answers(_write(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^answers: .*none\.json does not exist$"):
        read_answers(tmp_path / "none.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match=r"folder\.json cannot be read: Is a directory$"):
        read_answers(tmp_path / "folder.json")


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, unique_by=lambda row: row[0]))
def test_any_text_survives_json_and_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    records = [{"image": image, "answer": text} for image, text in rows]
    for file in (_write(folder / "a.json", dict(rows)), _write_csv(folder / "a.csv", records)):
        assert [(row.image, row.text) for row in read_answers(file)] == rows
