"""The question to the model and its form: the prompt belongs to the checkpoint and is stored with it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

IMAGE_TOKEN = "<image>"
"""Stands for the image in a prompt; the processor replaces it by the image tokens."""


class PromptSpec(BaseModel):
    """The prompt a checkpoint was trained or evaluated with.

    The defaults are those of the released `lingcco/fakeVLM`, whose evaluation sends the bare question (sic).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = "<image>Does the image looks real/fake?"
    """The question, with `<image>` exactly once."""
    prompt_format: Literal["raw", "chat"] = "raw"
    """`raw` sends the bare question; `chat` wraps it in the Vicuna template of llava-1.5."""
    answer_prefix: str = Field(default="This is a", min_length=1)
    """How every answer begins; the next token is the verdict word."""
    real_word: str = Field(default="real", min_length=1)
    """The word after the answer prefix that means real."""
    fake_word: str = Field(default="fake", min_length=1)
    """The word after the answer prefix that means fake."""

    @model_validator(mode="after")
    def _check(self) -> "PromptSpec":
        if self.question.count(IMAGE_TOKEN) != 1:
            raise ValueError(f"question must hold {IMAGE_TOKEN} exactly once, got {self.question!r}")
        for name in ("answer_prefix", "real_word", "fake_word"):
            value: str = getattr(self, name)
            if value != value.strip():
                raise ValueError(f"{name} must not begin or end with a space, got {value!r}")
        if self.real_word == self.fake_word:
            raise ValueError(f"real_word and fake_word must differ, both are {self.real_word!r}")
        return self

    def opening_fault(self, answer: str, is_fake: bool | None = None) -> str | None:
        """What keeps an answer from being trained on, and what to do; None for an answer that is fine.

        It must begin with the prefix and one of the two words, that of its label where `is_fake` says it: the score is
        read from the token after the prefix.
        """
        text = answer.strip()
        words = (
            (self.real_word, self.fake_word) if is_fake is None else (self.fake_word if is_fake else self.real_word,)
        )
        advice = "begin it with " + " or ".join(f"'{self.answer_prefix} {word} …'" for word in words)
        if not text.startswith(f"{self.answer_prefix} "):
            return f"does not begin with {self.answer_prefix!r}: {quoted(text)}; {advice}"
        rest = text[len(self.answer_prefix) + 1 :]
        if any(rest.startswith(word) and not rest[len(word) : len(word) + 1].isalnum() for word in words):
            return None
        missing = f"no {words[0]!r}" if len(words) == 1 else f"neither {words[0]!r} nor {words[1]!r}"
        return f"has {missing} right after {self.answer_prefix!r}, where the score is read: {quoted(text)}; {advice}"

    def asks(self, question: str) -> bool:
        """Whether it is this question, wherever the image and white space stand in it."""
        return question == self.question or _bare(question) == _bare(self.question)

    def text(self, answer_prefix: bool = True) -> str:
        """The whole prompt, without the beginning-of-sequence token and without a trailing space.

        With `answer_prefix` the prompt ends where the verdict word follows; without it the model answers freely.
        """
        prompt = self.question.rstrip()
        if self.prompt_format == "chat":
            prompt = f"USER: {IMAGE_TOKEN}\n{prompt.replace(IMAGE_TOKEN, '').strip()} ASSISTANT:"
        return f"{prompt} {self.answer_prefix}" if answer_prefix else prompt


def _bare(question: str) -> str:
    return " ".join(question.replace(IMAGE_TOKEN, " ").split())


def quoted(text: str) -> str:
    """A text in quotes, cut off after 60 characters, for a message."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
