"""One image's way through vLLM: read the two log-probabilities off token one, then explain or stop."""

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from fakescan.engine.contract import Judgement
from fakescan.engine.judging_options import JudgingOptions
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import decide, score_tokens


class Next(enum.Enum):
    """The engine loop's next step with a request, after an output."""

    MORE = "more"
    """Let it go on."""
    DONE = "done"
    """The judgement is complete and the request has ended by itself."""
    STOP = "stop"
    """The judgement is complete: abort the request."""


class _Logprob(Protocol):
    logprob: float


class Completion(Protocol):
    """The part of vLLM's `CompletionOutput` that is read here, in its DELTA form."""

    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, _Logprob]] | None
    finish_reason: str | None


class Generation:
    """The state of one image: takes the engine's outputs and says what to do next."""

    def __init__(self, options: JudgingOptions, prompt: PromptSpec, fake_token: int, real_token: int) -> None:
        self._options = options
        self._prompt = prompt
        self._fake_token = fake_token
        self._real_token = real_token
        self._begun = False
        self._logprob_fake = float("nan")
        self._logprob_real = float("nan")
        self._words: list[str] = []
        self._completion_tokens = 0
        self._is_cut = False
        self._error: str | None = None
        self.is_refused = False
        """Whether the engine would not do it, or ended it with an error: another attempt may fare better."""

    def fail(self, message: str) -> None:
        """End the answer with an error."""
        self._error = message

    def refuse(self, message: str) -> None:
        """End the answer because the engine does not take the request."""
        self.is_refused = True
        self.fail(message)

    def take(self, output: Completion) -> Next:
        """Read one output of the engine."""
        finished = output.finish_reason is not None
        self._completion_tokens += len(output.token_ids)
        self._is_cut = output.finish_reason == "length"
        if output.finish_reason == "error":
            self.refuse("the engine ended the request with an error")
            return Next.DONE
        if not self._begun:
            if not output.token_ids and not finished:
                return Next.MORE
            step = self._read_first(output, finished)
            if step is not None:
                return step
        self._words.append(output.text)
        return Next.DONE if finished else Next.MORE

    def _read_first(self, output: Completion, finished: bool) -> Next | None:
        """Read token one; None when the text from here on is the explanation."""
        self._begun = True
        if not output.logprobs:
            self.fail("the engine gave no log-probabilities")
            return Next.DONE if finished else Next.STOP
        first = output.logprobs[0]
        self._logprob_fake = first[self._fake_token].logprob
        self._logprob_real = first[self._real_token].logprob
        try:
            score = score_tokens(self._logprob_fake, self._logprob_real, self._options.calibration).score
        except ValueError as error:  # NaN, or both words impossible
            self.fail(str(error))
            return Next.DONE if finished else Next.STOP
        # What is written on is the model's own answer, also where the calibrated verdict is not its own word: a word
        # that is put into its mouth would have it argue for what it does not see.
        if not self._options.wants_explanation(decide(score, self._options.calibration)):
            return Next.DONE if finished else Next.STOP
        return None

    def judgement(self) -> Judgement:
        """The result; call it after DONE or STOP."""
        if self._error is not None:
            return Judgement(error=self._error)
        explanation = None
        if self._words:
            text = "".join(self._words)
            explanation = f"{self._prompt.answer_prefix}{'' if text[:1] in ' .,' else ' '}{text}".strip()
        return Judgement(
            self._logprob_fake,
            self._logprob_real,
            explanation,
            completion_tokens=self._completion_tokens,
            is_cut=self._is_cut and explanation is not None,
        )
