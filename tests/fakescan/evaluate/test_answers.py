"""Answers that somebody else's model gave, counted by both rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from fakescan.evaluate.answers import run_answers
from fakescan.evaluate.config import EvaluateConfig
from fakevlm.errors import UserError
from tests.fakevlm.data.labelled import fields, write_dataset
from tests.fakevlm.data.published import logged_sample, loki_questions, swift_line

pytestmark = pytest.mark.unit

ANSWERS: list[dict[str, Any]] = [
    {"image": "1", "label": 0, "answer": "This is a fake image. The fur repeats."},
    {"image": "2", "label": 0, "answer": "The scene looks unreal. This is a fake image."},
    {"image": "3", "label": 1, "answer": "This is a real image."},
    {"image": "4", "label": 1, "answer": ""},
]


def write(folder: Path, answers: list[dict[str, Any]]) -> Path:
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return file


def test_both_rules_are_counted_and_their_differences_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_answers(write(tmp_path, ANSWERS), None)
    assert (results.ours.accuracy, results.ours.undecided) == (0.75, 1)
    assert results.upstream.accuracy == pytest.approx(2.5 / 4), "unreal counts as real, a coin is half right"
    assert results.upstream.f1_fake is None, "an F1 of coins is no number"
    assert [(one.image, one.ours, one.upstream) for one in results.differing] == [
        ("2", "fake", "real"), ("4", "uncertain", None),
    ]  # fmt: skip
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "--answers", str(tmp_path / "answers.jsonl")])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert "2: ours fake, upstream real: 'The scene looks unreal." in out
    assert "upstream a coin toss" in out
    assert "part of a word" in out


def test_labels_and_references_come_from_the_dataset(tmp_path: Path) -> None:
    data = write_dataset(
        tmp_path / "data",
        [fields("animal/real/1.png"), fields("animal/fake/2.png", 0), fields("animal/fake/3.png", 0)],
        split="test",
    )
    file = write(
        tmp_path,
        [
            {"image": "animal/real/1.png", "answer": "This is a real image. The fur is even.", "logit": -2.0},
            {"image": "2.png", "answer": "This is a real image. The fur is even.", "logit": -1.0},
        ],
    )
    config = EvaluateConfig(data=str(data), output=str(tmp_path / "out"))
    results = run_answers(file, config)
    assert (results.answers, results.unanswered, results.ours.accuracy) == (2, 1, 0.5)
    assert results.upstream == results.ours
    assert not results.differing
    assert results.scored is not None
    assert results.scored.auroc == 1.0
    assert results.texts is not None
    assert results.texts.rouge_l == pytest.approx((1 + 8 / 9) / 2)  # of nine words, fake is another
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["answers"] == 2


def test_scores_and_logits_are_not_mixed(tmp_path: Path) -> None:
    mixed = [
        {"image": "1", "label": 0, "answer": "fake", "score": 0.9},
        {"image": "2", "label": 1, "answer": "real", "score": 0.8, "logit": 1.4},
    ]
    scored = run_answers(write(tmp_path, mixed), None).scored
    assert scored is not None
    assert scored.auroc == 1.0, "by the scores, which both have"
    del mixed[0]["score"]
    assert run_answers(write(tmp_path, mixed), None).scored is None


def test_the_threshold_counts_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(
        tmp_path, [{"image": str(at), "label": at % 2, "answer": "real", "score": at / 10} for at in range(10)]
    )
    by_half = run_answers(file, None).scored
    strict = run_answers(file, None, 0.75).scored
    assert by_half is not None
    assert strict is not None
    assert (by_half.real_as_fake, strict.real_as_fake) == (3, 1)
    with pytest.raises(SystemExit) as exit:
        main(["evaluate", "--answers", str(file), "--threshold", "0.75"])
    assert exit.value.code == 0
    assert "at the threshold 0.75" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"^threshold: 1 is not between 0 and 1$"):
        run_answers(file, None, 1.0)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([{"image": "9.png", "answer": "real"}], r"^answers: 1 are of images that .* does not have, such as '9\.png'"),
        (
            [{"image": "1.png", "answer": "real"}, {"image": "animal/real/1.png", "answer": "real"}],
            r"^answers: 'animal/real/1\.png' is answered twice, under two names",
        ),
        ([{"image": "1.png", "answer": "real", "label": 0}], r"^answers: '1\.png' has label 0 here and the other in"),
    ],
)
def test_answers_that_do_not_fit_the_dataset(answers: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", [fields("animal/real/1.png")], split="test")
    with pytest.raises(UserError, match=message):
        run_answers(write(tmp_path, answers), EvaluateConfig(data=str(data), output=""))


def test_answers_without_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^answers: 1 have no label, such as 'a'; name the dataset with --data"):
        run_answers(write(tmp_path, [{"image": "a", "answer": "real"}]), None)


FOUR = [
    fields("animal/real/1.png"),
    fields("animal/real/2.png"),
    fields("animal/fake/3.png", 0),
    fields("animal/fake/4.png", 0),
]
SAID = [
    "This is a real image. The fur is even.",
    "This is a fake image. The fur is even.",
    "This is a fake image. The fur is even.",
    "This is a real image. The fur is even.",
]


def by_hand(results: Any) -> None:
    """Of four answers, two to real and two to fake images, one of each is right."""
    ours = results.ours
    assert (results.answers, results.fakes, results.unanswered, ours.undecided) == (4, 2, 0, 0)
    assert (ours.accuracy, ours.recall_fake, ours.precision_fake, ours.f1_fake, ours.f1_real) == (0.5,) * 5
    # ROUGE-L of nine words of which one differs: 8 / 9; of the two right ones it is 1.
    assert results.texts.rouge_l == pytest.approx((1 + 1 + 8 / 9 + 8 / 9) / 4)


@pytest.mark.parametrize("as_struct", [True, False])
def test_what_ms_swift_writes(as_struct: bool, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", FOUR, split="test")
    lines = [
        swift_line(f"/elsewhere/FakeClue/{item['image']}", text, item["conversations"][1]["value"], as_struct=as_struct)
        for item, text in zip(FOUR, SAID, strict=True)
    ]
    by_hand(run_answers(write(tmp_path, lines[::-1]), EvaluateConfig(data=str(data), output="")))
    by_hand(run_answers(write(tmp_path, lines), None))  # labels are in the reference answers


def test_what_lmms_eval_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data", FOUR, split="test")
    lines = [
        logged_sample(position, text, item["conversations"][1]["value"])
        for position, (item, text) in enumerate(zip(FOUR, SAID, strict=True))
    ]
    by_hand(run_answers(write(tmp_path, lines[::-1]), EvaluateConfig(data=str(data), output="")))
    by_hand(run_answers(write(tmp_path, lines), None))
    lines[0]["filtered_resps"] = lines[0].pop("filtered_resps")[0]  # as some tasks leave it
    lines[1]["resps"] = [lines[1].pop("filtered_resps")]
    with pytest.raises(SystemExit):
        main(["evaluate", "--answers", str(write(tmp_path, lines)), "--data", str(data)])
    out = " ".join(capsys.readouterr().out.split())
    assert "fakescan 50.0 50.0 50.0 15.0 to 85.0 0.0 50.0 50.0" in out
    beyond = [{**lines[0], "doc_id": 4}]
    with pytest.raises(UserError, match=r"1 are of images that .* does not have, such as 'doc_id 4'"):
        run_answers(write(tmp_path, beyond), EvaluateConfig(data=str(data), output=""))


@pytest.mark.parametrize("flat", [True, False])
def test_what_lmms_eval_wrote_before(flat: bool, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", FOUR, split="test")
    samples = []
    for position, (item, text) in enumerate(zip(FOUR, SAID, strict=True)):
        asked = ["Does the image looks real/fake?", {"until": ["\n"]}, position, "mine", "test"]
        samples.append(
            {
                "doc_id": position,
                "target": item["conversations"][1]["value"],
                "doc": {"id": f"fakeclue-{position}", "cate": item["cate"]},
                "arguments": asked if flat else [asked[:1]],
                "resps": [[text]],
                "filtered_resps": [text],
                "exact_match": 1.0,
            }
        )
    file = tmp_path / "fakeclue_test.json"
    file.write_text(json.dumps({"args": {"model": "llava"}, "model_configs": {"task": "x"}, "logs": samples}, indent=4))
    by_hand(run_answers(file, EvaluateConfig(data=str(data), output="")))
    by_hand(run_answers(file, None))


def test_what_a_reward_was_told_is_the_reference(tmp_path: Path) -> None:
    lines = [swift_line(item["image"], text, None) for item, text in zip(FOUR, SAID, strict=True)]
    for line, item in zip(lines, FOUR, strict=True):
        line["solution"] = item["conversations"][1]["value"]
    by_hand(run_answers(write(tmp_path, lines), None))


@pytest.mark.parametrize("harness", ["lmms-eval", "ms-swift"])
def test_yes_and_no_to_lokis_opposite_questions(harness: str, tmp_path: Path) -> None:
    items = [item for number in range(4) for item in loki_questions("doc", number, fake=number < 2)]
    (tmp_path / "list.json").write_text(json.dumps(items))
    said = ["Yes", "No", "No", "Yes", "No.", "yes", "No", "No"]  # of the fakes 1 is right, of the reals 0 and half of 1
    if harness == "lmms-eval":
        lines = [
            logged_sample(position, text, item["answer"], item["question"])
            for position, (item, text) in enumerate(zip(items, said, strict=True))
        ]
    else:
        lines = []
        for item, text in zip(items, said, strict=True):
            lines.append(swift_line(f"/mnt/x/{item['image_path']}", text, item["answer"]))
            lines[-1]["messages"][0]["content"] = item["question"]
    config = EvaluateConfig(data=str(tmp_path / "list.json"), benchmark="loki", output="")
    results = run_answers(write(tmp_path, lines), config)
    # Right: both questions about image 0, none about 1, both about 2, the first about 3.
    assert (results.answers, results.fakes, results.yes_or_no, results.unanswered) == (8, 4, 8, 0)
    assert results.ours.accuracy == 5 / 8
    assert results.ours.recall_fake == 2 / 4
    assert results.ours.precision_fake == 2 / 3
    assert results.texts is not None
    assert (results.texts.compared, results.texts.rouge_l) == (0, None), "Yes is no explanation"
    assert run_answers(write(tmp_path, lines), None).ours == results.ours


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"doc_id": 0, "filtered_resps": ["a", "b"]}, "has 2 answers under filtered_resps, not one"),
        ({"doc_id": -1, "filtered_resps": ["a"]}, "doc_id: "),
        ({"doc_id": 0, "filtered_resps": [None]}, "filtered_resps: "),
        ({"response": "a", "images": []}, "names 0 images, not one"),
        ({"response": "a", "images": ["a.png", "b.png"]}, "names 2 images, not one"),
        ({"response": "a", "images": [{"bytes": "x", "path": None}]}, "its images have no path"),
    ],
)
def test_lines_of_a_harness_that_cannot_be_used(line: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^answers: ") as caught:
        run_answers(write(tmp_path, [line]), None)
    assert words in str(caught.value)
