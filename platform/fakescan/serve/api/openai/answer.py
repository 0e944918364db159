"""What is asked about an image in OpenAI's formats, and what its answers have in common."""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.types import Scope

from fakescan.engine.judging_options import JudgingOptions
from fakescan.serve.api.detect import too_slow
from fakescan.serve.api.openai.answer_format import FIELDS, AnswerFormat
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.detector import Detector, JudgedImage, Result, refusal
from fakescan.serve.problem import Problem
from fakescan.serve.work import admission
from fakevlm.verdict import Verdict

_VERY_UNLIKELY = -9999.0
"""OpenAI's own word for a log-probability that is none."""
_NOT_OF_ONE_IMAGE = {"index", "name", "error"}
_OF_IMAGES = frozenset({"too_many_pixels", "not_an_image", "unsupported_format", "empty", "truncated"})
"""Codes of problems with the file that was sent."""


@dataclass(frozen=True)
class Question:
    """One image and how its answer is wanted."""

    upload: Upload
    place: str
    """The field that the image is in: `messages[0].content[1].image_url.url`."""
    options: JudgingOptions
    answer_format: AnswerFormat | None = None
    """None: in words."""
    top_logprobs: int | None = None
    """Words beside the verdict's own that get their log-probability; None: no log-probabilities at all."""
    stream: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The client's own, which comes back."""
    include_usage: bool = False
    """Whether a stream ends with the count of tokens."""


class TopLogprob(BaseModel):
    """A word that could have been the verdict."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """The verdict's word, the only one whose log-probability is known."""

    top_logprobs: list[TopLogprob]


def possible_values(detector: Detector, options: JudgingOptions) -> dict[str, list[Any]]:
    """Values that fields of an answer can have here: the verdicts, the threshold, and the shortest explanation."""
    calibration = options.calibration
    return {
        "verdict": [
            verdict.value
            for verdict in Verdict
            if verdict is not Verdict.UNCERTAIN or calibration.uncertain_low is not None
        ],
        "threshold": [calibration.threshold],
        "explanation": [detector.checkpoint.prompt.answer_prefix, *FIELDS["explanation"][1:]],
    }


async def judge(detector: Detector, question: Question, scope: Scope) -> JudgedImage:
    """The whole judgement. Raises Problem for an image without a verdict, and TimeoutError."""
    upload = await _admitted(detector, question, scope)
    async with asyncio.timeout(detector.config.limits.request_timeout_s):
        judged = await detector.judge(upload, question.options)
    if problem := refusal(judged.result):
        raise _at(question, problem)
    return judged


async def _admitted(detector: Detector, question: Question, scope: Scope) -> Upload:
    try:
        (upload,) = await admission(detector, scope)([question.upload])
    except Problem as problem:
        raise _at(question, problem) from None
    return upload


def _at(question: Question, problem: Problem) -> Problem:
    """The problem, with the field of the image where it is about that."""
    if problem.code in _OF_IMAGES:
        problem.param = problem.param or question.place
    return problem


async def growing(
    detector: Detector, question: Question, scope: Scope
) -> tuple[Result, AsyncGenerator[Result | JudgedImage | Problem, None]]:
    """The score, and the parts that come after it: a JudgedImage, or a Problem, is the last one.

    Raises Problem for an image without a verdict. The generator must be closed.
    """
    upload = await _admitted(detector, question, scope)
    parts = _parts(detector, upload, question.options)
    first = await anext(parts)
    if isinstance(first, Problem):
        await parts.aclose()
        raise _at(question, first)
    result = first.result if isinstance(first, JudgedImage) else first

    async def all_parts() -> AsyncGenerator[Result | JudgedImage | Problem, None]:
        async with aclosing(parts):
            yield first
            async for part in parts:
                yield part

    return result, all_parts()


async def _parts(
    detector: Detector, upload: Upload, options: JudgingOptions
) -> AsyncGenerator[Result | JudgedImage | Problem, None]:
    limit_s = detector.config.limits.request_timeout_s
    deadline = asyncio.get_running_loop().time() + limit_s
    async with aclosing(detector.stream(upload, options)) as stream:
        while True:
            try:
                # For each part by itself: the first is read in the request's task, the others in the response's.
                async with asyncio.timeout_at(deadline):
                    part = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                yield too_slow(limit_s)
                return
            yield refusal(part if isinstance(part, Result) else part.result) or part


def words_so_far(result: Result, question: Question) -> str:
    """The text of an answer as far as it is certain. JSON comes whole, at the end."""
    return "" if question.answer_format is not None else f"{result.opening}{result.explanation or ''}"


def words_of(judged: JudgedImage, question: Question) -> str:
    """The text of an answer."""
    result = judged.result
    if question.answer_format is None:
        return words_so_far(result, question)
    values = result.model_dump(mode="json")
    values["explanation"] = result.explanation or ""
    values["threshold"] = question.options.calibration.threshold
    return question.answer_format.text(values)


def is_cut(judged: JudgedImage, question: Question) -> bool:
    """Whether the text lacks its end. JSON never does, even where the explanation in it is cut."""
    return judged.is_cut and question.answer_format is None


def verdict_of(detector: Detector, result: Result, question: Question) -> dict[str, Any]:
    """The verdict as programs read it: `fakescan` of an answer. Before there are words its explanation is null."""
    return {
        **result.model_dump(mode="json", exclude=_NOT_OF_ONE_IMAGE),
        "threshold": question.options.calibration.threshold,
        "meaning": detector.words.meaning,
        "notice": detector.notice,
    }


def fingerprint(detector: Detector) -> str:
    """What tells one checkpoint from another behind the same name."""
    return f"fp_{detector.checkpoint.weights_sha256[:12]}"


def token_logprobs(detector: Detector, result: Result, question: Question) -> list[TokenLogprob] | None:
    """The log-probabilities of the verdict's word, before calibration; None where nobody asks."""
    if question.top_logprobs is None or result.logit is None or result.off_script is None:
        return None
    either = math.log(max(1.0 - result.off_script, 1e-300))
    prompt = detector.checkpoint.prompt
    words = sorted(
        (
            _logprob(prompt.fake_word, either - _softplus(-result.logit)),
            _logprob(prompt.real_word, either - _softplus(result.logit)),
        ),
        key=lambda word: -word.logprob,
    )
    return [TokenLogprob(**words[0].model_dump(), top_logprobs=words[: question.top_logprobs])]


def _logprob(word: str, logprob: float) -> TopLogprob:
    token = f" {word}"
    return TopLogprob(token=token, logprob=max(logprob, _VERY_UNLIKELY), bytes=list(token.encode()))


def _softplus(value: float) -> float:
    """log(1 + exp(value)), for any value."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
