"""POST /v1/chat/completions: the format of OpenAI's API, so that its clients can ask about an image."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from fakescan.serve.api.event_stream import event_stream
from fakescan.serve.api.json_body import cut_long_strings
from fakescan.serve.api.openai.answer import (
    Question,
    TokenLogprob,
    fingerprint,
    growing,
    is_cut,
    judge,
    possible_values,
    token_logprobs,
    verdict_of,
    words_of,
    words_so_far,
)
from fakescan.serve.api.openai.answer_format import read_format
from fakescan.serve.api.openai.content import PART_SCHEMA, find_image
from fakescan.serve.api.openai.image_text import decode_image
from fakescan.serve.api.openai.unsupported import CHAT, refuse_unsupported
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.detector import Detector, JudgedImage
from fakescan.serve.outcome_header import outcome_header
from fakescan.serve.problem import Problem

MAX_MESSAGES = 1000

_MESSAGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Message",
    "description": "The newest message that has an image must have exactly one; it is judged.",
    "properties": {
        "role": {"type": "string"},
        "content": {"oneOf": [{"type": "string"}, {"type": "array", "items": PART_SCHEMA}, {"type": "null"}]},
    },
}
_FORMAT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "type": {"enum": ["text", "json_object", "json_schema"]},
                "json_schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "schema": {"type": "object"}},
                },
            },
            "required": ["type"],
        },
        {"type": "null"},
    ]
}


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = None
    """Send a last piece with the count of tokens."""


class ChatRequest(BaseModel):
    """The part of OpenAI's request that is read. Sampling settings are ignored: the answer is always the likeliest."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[
        list[Annotated[Any, WithJsonSchema(_MESSAGE_SCHEMA)]], Field(min_length=1, max_length=MAX_MESSAGES)
    ]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Annotated[Any, WithJsonSchema(_FORMAT_SCHEMA)] = None
    """text, json_object, or a json_schema that verdict, finding, score, threshold, explanation and remark can fill."""


class ChatMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChoiceLogprobs(BaseModel):
    """Log-probabilities: of the one word that the verdict depends on."""

    content: list[TokenLogprob]
    refusal: None = None


class ChatChoice(BaseModel):
    """The one choice."""

    index: Literal[0] = 0
    message: ChatMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: Literal["stop", "length"]


class ChatUsage(BaseModel):
    """Tokens of the checkpoint's own prompt, image included, and of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """The response."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    """Begins with the checkpoint's hash: it changes when another one is behind the same name."""
    choices: list[ChatChoice]
    usage: ChatUsage
    fakescan: dict[str, Any]
    """The verdict, with the fields of a result of POST /v1/detect."""


def read_chat(detector: Detector, body: bytes) -> Question:
    """What a request asks. It may take a while. Raises Problem."""
    json_body = cut_long_strings(body)
    request = json_body.read(ChatRequest)
    detector.require(request.model if not json_body.text(request.model).raw else "a name of over 4,095 bytes")
    refuse_unsupported(request.model_extra or {}, CHAT)
    options = detector.options("all", None, request.max_completion_tokens or request.max_tokens)
    answer_format = read_format(request.response_format, "response_format", possible_values(detector, options))
    image = find_image(request.messages, "messages")
    data = decode_image(json_body.text(image.text).pieces(), image.place)
    return Question(
        upload=Upload(0, None, data),
        place=image.place,
        options=options,
        answer_format=answer_format,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        stream=bool(request.stream),
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
    )


async def chat(detector: Detector, question: Question, scope: Scope) -> Response:
    """The explanation as the assistant's words, and the verdict beside it as `fakescan`."""
    if question.stream:
        return await _stream(detector, question, scope)
    judged = await judge(detector, question, scope)
    logprobs = token_logprobs(detector, judged.result, question)
    choice = ChatChoice(
        message=ChatMessage(content=words_of(judged, question)),
        logprobs=ChoiceLogprobs(content=logprobs) if logprobs is not None else None,
        finish_reason=_finish(judged, question),
    )
    completion = ChatCompletion(
        id=_id(scope),
        created=int(time.time()),
        model=detector.model,
        system_fingerprint=fingerprint(detector),
        choices=[choice],
        usage=_usage(detector, judged),
        fakescan=verdict_of(detector, judged.result, question),
    )
    return JSONResponse(completion.model_dump(mode="json"), headers=outcome_header([judged.result]))


async def _stream(detector: Detector, question: Question, scope: Scope) -> Response:
    """Pieces of the answer. The response begins with the first score, so that until then it can be a refusal."""
    first, parts = await growing(detector, question, scope)
    envelope: dict[str, Any] = {
        "id": _id(scope),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": detector.model,
        "system_fingerprint": fingerprint(detector),
    }
    if question.include_usage:
        envelope["usage"] = None

    def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
        logprobs = extra.pop("logprobs", None)
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return _line({**envelope, "choices": [choice], **extra})

    async def body() -> AsyncGenerator[bytes, None]:
        async with aclosing(parts):
            logprobs = token_logprobs(detector, first, question)
            yield chunk(
                {"role": "assistant", "content": "", "refusal": None},
                logprobs=ChoiceLogprobs(content=logprobs).model_dump(mode="json") if logprobs is not None else None,
                fakescan=verdict_of(detector, first, question),
            )
            sent = 0
            async for part in parts:
                if isinstance(part, Problem):
                    yield _line({"error": part.openai_error()})
                    return
                if isinstance(part, JudgedImage):
                    if text := words_of(part, question)[sent:]:
                        yield chunk({"content": text})
                    yield chunk({}, _finish(part, question))
                    if question.include_usage:
                        yield _line({**envelope, "choices": [], "usage": _usage(detector, part).model_dump()})
                elif text := words_so_far(part, question)[sent:]:
                    sent += len(text)
                    yield chunk({"content": text})
            yield b"data: [DONE]\n\n"

    return event_stream(body())


def _id(scope: Scope) -> str:
    return f"chatcmpl-{scope['fakescan.request_id']}"


def _finish(judged: JudgedImage, question: Question) -> Literal["stop", "length"]:
    return "length" if is_cut(judged, question) else "stop"


def _usage(detector: Detector, judged: JudgedImage) -> ChatUsage:
    prompt = detector.checkpoint.prompt_tokens
    return ChatUsage(
        prompt_tokens=prompt,
        completion_tokens=judged.completion_tokens,
        total_tokens=prompt + judged.completion_tokens,
    )


def _line(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
