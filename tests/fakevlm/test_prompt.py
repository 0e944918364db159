"""The prompt of a checkpoint."""

import pytest
from pydantic import ValidationError

from fakevlm.prompt import PromptSpec

pytestmark = pytest.mark.unit


def test_default_is_the_raw_question_of_the_released_model() -> None:
    assert PromptSpec().text() == "<image>Does the image looks real/fake? This is a"
    assert PromptSpec().text(answer_prefix=False) == "<image>Does the image looks real/fake?"


def test_chat_wraps_the_question_in_the_vicuna_template() -> None:
    prompt = PromptSpec(prompt_format="chat")
    assert prompt.text() == "USER: <image>\nDoes the image looks real/fake? ASSISTANT: This is a"
    assert prompt.text(answer_prefix=False) == "USER: <image>\nDoes the image looks real/fake? ASSISTANT:"


@pytest.mark.parametrize("question", ["Real or fake?\n<image>", "<image>\nReal or fake? ", "Real <image> or fake?"])
@pytest.mark.parametrize("prompt_format", ["raw", "chat"])
def test_the_image_stands_once_and_no_space_trails(question: str, prompt_format: str) -> None:
    prompt = PromptSpec(question=question, prompt_format=prompt_format)
    for text in (prompt.text(), prompt.text(answer_prefix=False)):
        assert text.count("<image>") == 1
        assert text == text.strip()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"question": "Real or fake?"}, "question"),
        ({"question": "<image><image>?"}, "question"),
        ({"answer_prefix": "This is a "}, "answer_prefix"),
        ({"answer_prefix": ""}, "answer_prefix"),
        ({"fake_word": " fake"}, "fake_word"),
        ({"real_word": "fake"}, "real_word"),
        ({"prompt_format": "llama"}, "prompt_format"),
        ({"quesion": "<image>?"}, "quesion"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, str], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        PromptSpec(**settings)  # type: ignore[arg-type]
