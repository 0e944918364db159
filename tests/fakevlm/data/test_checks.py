"""Every kind of problem in the records is found, all of them at once, and sound records raise none."""

from pathlib import Path
from typing import Any

import pytest

from fakevlm.data.checks import check_records, check_warnings, warning_lines
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.record import CATEGORIES
from fakevlm.prompt import PromptSpec
from tests.fakevlm.data.labelled import QUESTION, fields, write_dataset

pytestmark = pytest.mark.unit

HUMAN, GPT = {"from": "human", "value": QUESTION}, {"from": "gpt", "value": "This is a real image."}


def check(tmp_path: Path, *items: Any) -> list[DatasetProblem]:
    return checked(open_dataset(write_dataset(tmp_path, items, images=False), strict=False))


def checked(dataset: Dataset, prompt: PromptSpec | None = None) -> list[DatasetProblem]:
    """Problems, then warnings."""
    prompt = prompt or PromptSpec()
    problems, warnings = check_records([dataset], prompt), check_warnings([dataset], prompt)
    assert not any(problem.kind.is_warning for problem in problems)
    assert all(warning.kind.is_warning for warning in warnings)
    return [*problems, *warnings]


def kinds(problems: list[DatasetProblem]) -> list[tuple[int | None, ProblemKind]]:
    return [(problem.number, problem.kind) for problem in problems]


def test_sound_records_have_no_problems(tmp_path: Path) -> None:
    sound = [fields(f"{name}/{label}.png", label, cate=name) for name in CATEGORIES for label in (0, 1)]
    more = {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "The light."}
    assert check(tmp_path, *sound) == []
    (warning,) = check(tmp_path, *sound, fields("talk.png", conversations=[HUMAN, GPT, *more]))
    assert (warning.kind, warning.message) == (ProblemKind.TURNS, "4 turns, of which the first two are trained on")
    assert warning.kind.is_warning


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"label": 0}, ProblemKind.LABEL, "label 0 means fake, the answer says real: 'This is a real image. The"),
        ({"answer": "This is a fake image."}, ProblemKind.LABEL, "label 1 means real, the answer says fake"),
        ({"answer": "Hard to say."}, ProblemKind.UNCERTAIN, "label 1 (real), answer 'Hard to say.'"),
        ({"answer": "This is not a real image."}, ProblemKind.UNCERTAIN, "label 1"),
        ({"cate": "animals"}, ProblemKind.CATEGORY, "'animals' is not one of animal, human"),
        ({"cate": "medicine"}, ProblemKind.CATEGORY, "'medicine'"),
        ({"image": "../1.png"}, ProblemKind.PATH, "holds .."),
        ({"image": "/data/1.png"}, ProblemKind.PATH, "is absolute"),
        ({"width": 0}, ProblemKind.SIZE, "0 x 6 pixels; each side must be from 1 to 100,000"),
        ({"height": -3}, ProblemKind.SIZE, "8 x -3"),
        ({"width": 10**9}, ProblemKind.SIZE, "1000000000 x 6"),
        ({"height": None}, ProblemKind.SIZE, "one is missing"),
        ({"conversations": []}, ProblemKind.CONVERSATION, "is empty"),
        ({"conversations": [HUMAN]}, ProblemKind.CONVERSATION, "the turns are human; they must be pairs"),
        ({"conversations": [GPT, HUMAN]}, ProblemKind.CONVERSATION, "the turns are gpt, human"),
        ({"conversations": [HUMAN, GPT, GPT, HUMAN]}, ProblemKind.CONVERSATION, "gpt, gpt, human"),
        ({"answer": " "}, ProblemKind.CONVERSATION, "a turn is empty"),
        ({"conversations": [{**HUMAN, "value": "<image>"}, GPT]}, ProblemKind.CONVERSATION, "a turn is empty"),
        ({"conversations": [{**HUMAN, "value": "Real?"}, GPT]}, ProblemKind.CONVERSATION, "occurs 0 times"),
        ({"conversations": [{**HUMAN, "value": "<image><image>?"}, GPT]}, ProblemKind.CONVERSATION, "2 times"),
        ({"answer": "<image>This is a real image."}, ProblemKind.CONVERSATION, "2 times"),
        ({"conversations": [{**HUMAN, "value": "Well?"}, GPT, HUMAN, GPT]}, ProblemKind.CONVERSATION, "1 times"),
    ],
)
def test_one_fault_is_one_problem(changes: dict[str, Any], kind: ProblemKind, words: str, tmp_path: Path) -> None:
    item = fields(**{"label": 1, **{name: value for name, value in changes.items() if name != "label"}})
    (problem,) = check(tmp_path, {**item, "label": changes.get("label", 1)})
    assert (problem.kind, problem.file, problem.number) == (kind, "train.json", 1)
    assert words in problem.message
    assert problem.image == changes.get("image", "animal/real/1.png")


def test_all_problems_at_once(tmp_path: Path) -> None:
    broken = fields("../x.png", 1, cate="none", width=0, answer="This is a fake image.")
    found = check(tmp_path, broken, "nonsense", fields("2.png"), fields("./2.png", 0), {**fields(), "label": 7})
    assert sorted(kinds(found), key=lambda item: (item[0] or 0, item[1].name)) == [
        (1, ProblemKind.CATEGORY),
        (1, ProblemKind.LABEL),
        (1, ProblemKind.PATH),
        (1, ProblemKind.SIZE),
        (2, ProblemKind.RECORD),
        (4, ProblemKind.CONFLICT),
        (5, ProblemKind.RECORD),
    ]


def test_an_image_with_both_labels_is_told_once(tmp_path: Path) -> None:
    items = [fields("a.png", label) for label in (1, 0, 1, 0)] + [fields("b.png")] * 2
    problem, *warnings = check(tmp_path, *items)
    assert (problem.kind, problem.number) == (ProblemKind.CONFLICT, 2)
    assert problem.message == "label 0 here, 1 in train.json record 1"
    assert {warning.kind for warning in warnings} == {ProblemKind.DUPLICATE}


def test_an_image_in_several_records_is_a_warning_for_each_after_the_first(tmp_path: Path) -> None:
    found = check(
        tmp_path, fields("a.png"), fields("b.png"), fields("./a.png"), fields("a.png", answer="This is a real image.")
    )
    assert [(problem.kind, problem.number, problem.message) for problem in found] == [
        (ProblemKind.DUPLICATE, 3, "is in record 1 too"),
        (ProblemKind.DUPLICATE, 4, "is in record 1 too"),
    ]
    assert warning_lines(found) == [
        "image in several records: 2 records, such as train.json record 3 (./a.png): is in record 1 too"
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("The image is real. The fur is even.", "does not begin with 'This is a': 'The image is real."),
        ("This is an authentic, real image.", "does not begin with 'This is a'"),
        ("this is a real image.", "; begin it with 'This is a real …'"),
        (
            "This is a clearly real image.",
            "has no 'real' right after 'This is a', where the score is read: 'This is a clearly real image.'; begin it "
            "with 'This is a real …'",
        ),
        ("This is a  real image.", "has no 'real'"),
        ("This is a realistic and real image.", "has no 'real'"),
        ("This is a fake-looking scene. It is a real image.", "has no 'real'"),
        ("  This is a real image.", None),
        ("This is a real-life picture. It is a real image.", None),
    ],
)
def test_an_answer_must_begin_as_training_needs_it(answer: str, words: str | None, tmp_path: Path) -> None:
    found = check(tmp_path, fields(answer=answer))
    assert [problem.kind for problem in found] == ([ProblemKind.OPENING] if words else [])
    assert all(str(words) in problem.message for problem in found)


def test_the_prompt_of_the_checkpoint_decides(tmp_path: Path) -> None:
    other = PromptSpec(question="<image>Real or fake?", answer_prefix="It is", real_word="real", fake_word="fake")
    turns = [{"from": "human", "value": "Real or fake?\n<image>"}, {"from": "gpt", "value": "It is real."}]
    dataset = open_dataset(write_dataset(tmp_path, [fields(conversations=turns)], images=False))
    assert checked(dataset, other) == []
    assert check_records([dataset]) == [], "without a prompt nothing can be said of it"
    opening, question = checked(dataset)
    assert (opening.kind, question.kind) == (ProblemKind.OPENING, ProblemKind.QUESTION)
    assert question.message == (
        "asks 'Real or fake?\\n<image>', training asks '<image>Does the image looks real/fake?'"
    )


def test_a_question_that_differs_in_space_alone_is_the_same(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nDoes the image  looks real/fake? "}, GPT]
    assert check(tmp_path, fields(conversations=turns)) == []


def test_what_stands_in_two_splits_is_told(tmp_path: Path) -> None:
    write_dataset(tmp_path, [fields("a.png"), fields("b.png", source="photo-1")], images=False)
    both = [fields("a.png"), fields("c.png", source="photo-1"), fields("d.png", source="photo-1"), fields("e.png")]
    write_dataset(tmp_path, both, split="val", images=False)
    found = check_records([open_dataset(tmp_path, split=name) for name in ("train", "val")])
    assert [(problem.kind, problem.file, problem.number, problem.message) for problem in found] == [
        (ProblemKind.LEAK, "val.json", 1, "image 'a.png' is in train.json record 1 too"),
        (ProblemKind.LEAK, "val.json", 2, "source 'photo-1' is in train.json record 2 too"),
    ]


def test_a_problem_is_one_printable_line(tmp_path: Path) -> None:
    _, problem = check(tmp_path, fields("a\nb\x1b[31m\udcff.png", cate="x\ny"))
    assert str(problem).startswith(r"train.json record 1 (a\nb\x1b[31m\udcff.png): cate 'x\ny' is not one of")
