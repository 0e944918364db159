"""Label files: read to the letter, merged by reviewer, and joined by content."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.review.agreement import review_status
from fakescan.review.labels import read_labels
from fakescan.storage.store import Store
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

KEY = "a" * 64


def line(**changes: Any) -> str:
    return json.dumps({"sha256": KEY, "label": "fake", "reviewer": "ann", **changes}) + "\n"


def read(tmp_path: Path, *files: str) -> Any:
    for number, text in enumerate(files):
        (tmp_path / f"{number}.jsonl").write_text(text)
    return read_labels([str(tmp_path)], Store())


def test_every_field(tmp_path: Path) -> None:
    more = {"row_id": 4, "seconds": 2.5, "at": "2026-11-26T10:00:00Z", "seen_score": True, "note": "hands"}
    labels = read(tmp_path, line(**more) + "\n" + line(sha256="b" * 64, label="unsure"))
    assert labels.of_image[KEY].by_reviewer["ann"].seconds == 2.5
    assert labels.of_image["b" * 64].label == "unsure"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "is no object"),
        (line(label="Fake"), "'label'"),
        (line(label=0), "'label'"),
        (line(sha256="A" * 64), "'sha256'"),
        (line(reviewer=""), "'reviewer'"),
        (line(reviewer=" "), "'reviewer'"),
        (line(seconds=-1), "'seconds'"),
        (line(row_id="4"), "'row_id'"),
        (line(at="2026-11-26T10:00:00"), "without a time zone"),
        (line(score=0.4), "the unknown field 'score'"),
        ('{"label": "fake", "reviewer": "ann"}', "no 'sha256'"),
        (line().replace('"label"', '"label": "real", "label"'), "'label' twice"),
        ('{"sha256": "' + KEY, "is not JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, bad: str, words: str) -> None:
    with pytest.raises(UserError, match=r"labels: line 2 of .*0\.jsonl ") as error:
        read(tmp_path, line(sha256="b" * 64) + bad)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"sha256": "\xff\xfe"}')
    with pytest.raises(UserError, match="line 1 of"):
        read_labels([str(tmp_path)], Store())


def test_the_last_word_of_a_reviewer_counts_whatever_file_it_is_in(tmp_path: Path) -> None:
    late, early = line(label="real", at="2026-11-26T11:00:00Z"), line(at="2026-11-26T10:00:00Z")
    labels = read(tmp_path, late, early)
    assert labels.of_image[KEY].label == "real"
    assert labels.changed == 1


def test_a_second_look_tells_only_of_the_reviewer(tmp_path: Path) -> None:
    first, again = line(at="2026-11-26T10:00:00Z"), line(label="real", second_look=True, at="2026-11-26T11:00:00Z")
    labels = read(tmp_path, first, again)
    assert (labels.of_image[KEY].label, labels.changed) == ("fake", 0)
    assert labels.second_looks[KEY, "ann"].label == "real"
    found = review_status([], labels)
    assert [(own.reviewer, own.images, own.agreed) for own in found.selves] == [("ann", 1, 0)]
    assert found.pairs == []
    # In the sample qa, a first label of another reviewer is one like any other.
    labels = read(tmp_path, first, again, line(reviewer="bob", second_look=False))
    found = review_status([], labels)
    assert [(pair.first, pair.second, pair.agreed) for pair in found.pairs] == [("ann", "bob", 1)]


def test_most_reviewers_decide_and_a_tie_is_unsure(tmp_path: Path) -> None:
    labels = read(tmp_path, line(), line(reviewer="bob", label="real"))
    assert (labels.of_image[KEY].label, labels.of_image[KEY].is_disputed) == ("unsure", True)
    labels = read(tmp_path, line(), line(reviewer="bob", label="real"), line(reviewer="cem"))
    assert labels.of_image[KEY].label == "fake"


def test_no_label_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.jsonl"):
        read_labels([str(tmp_path)], Store())
