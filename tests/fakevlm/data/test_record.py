"""A record survives the way from a file and back, and says what is asked of it."""

import pytest
from pydantic import ValidationError

from fakevlm.data.record import Record, Turn
from tests.fakevlm.data.labelled import QUESTION, fields, record

pytestmark = pytest.mark.unit


def test_fakeclues_own_record() -> None:
    item = fields("ff++/fake/Deepfakes/000_003/160.png", 0, cate="deepfake", width=256, height=256)
    found = Record.model_validate(item)
    assert (found.image, found.label, found.cate, found.is_fake) == (item["image"], 0, "deepfake", True)
    assert found.question == QUESTION
    assert found.answer == "This is a fake image. The fur is even."
    assert [turn.from_ for turn in found.conversations] == ["human", "gpt"]
    assert found.to_json() == item


def test_a_turn_is_made_in_python_too() -> None:
    assert Turn(from_="human", value="?").model_dump() == {"from": "human", "value": "?"}


def test_further_fields_are_kept_and_optional_ones_written_only_when_set() -> None:
    item = fields("a.png", 0, source="photo-7", family="splice", severity="subtle", generator="X", width=None)
    assert Record.model_validate(item).to_json() == item
    assert Record.model_validate(fields()).to_json() == fields()


def test_a_record_without_turns_has_no_question_and_no_answer() -> None:
    empty = record(conversations=[])
    assert (empty.question, empty.answer) == ("", "")


@pytest.mark.parametrize("label", [2, -1, "0", True, 0.5, None])
def test_a_label_is_0_or_1(label: object) -> None:
    with pytest.raises(ValidationError):
        Record.model_validate({**fields(), "label": label})


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        record().label = 0
