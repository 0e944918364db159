"""POST /v1/chat/completions: the format of OpenAI's API, so that its clients can ask about an image."""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from fakescan.engine.judging_options import JudgingOptions
from fakescan.serve.api.detect import too_slow
from fakescan.serve.api.event_stream import event_stream
from fakescan.serve.detector import Detector, Result, Upload, refusal
from fakescan.serve.outcome_header import outcome_header
from fakescan.serve.problem import Problem


class ImageUrl(BaseModel):
    """The image's URL."""

    model_config = ConfigDict(extra="ignore")

    url: str
    """`data:image/…;base64,…`; other URLs are not fetched."""


class TextPart(BaseModel):
    """Text, which is ignored: the checkpoint has a prompt of its own."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    """The image."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["image_url"]
    image_url: ImageUrl


MessagePart = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class ChatMessage(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[MessagePart] | None = None


class ChatRequest(BaseModel):
    """The part of OpenAI's request that is read. Sampling settings are ignored: the answer is always the likeliest."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=64)]
    stream: bool = False
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


async def chat(detector: Detector, request: ChatRequest, request_id: str) -> Response:
    """The explanation as the assistant's words, and the verdict beside it as `fakescan`."""
    detector.require(request.model)
    upload = Upload(0, None, _image(request))
    options = detector.options("all", None, request.max_completion_tokens or request.max_tokens)
    limit_s = detector.config.limits.request_timeout_s
    if request.stream:
        return await _stream(detector, upload, options, request_id)
    async with asyncio.timeout(limit_s):
        judged = await detector.judge(upload, options)
    if problem := refusal(judged.result):
        raise problem
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": judged.result.explanation, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    content = {**_envelope(detector, request_id, "chat.completion"), "choices": [choice]}
    content["fakescan"] = _verdict(judged.result, options)
    return JSONResponse(content, headers=outcome_header([judged.result]))


def _image(request: ChatRequest) -> bytes:
    """The one image of the conversation."""
    urls = [
        part.image_url.url
        for message in request.messages
        if isinstance(message.content, list)
        for part in message.content
        if isinstance(part, ImagePart)
    ]
    if len(urls) != 1:
        raise Problem("invalid", f"messages: {len(urls)} images; send exactly one, as an image_url with a data: URI")
    prefix, comma, data = urls[0].partition(",")
    if not prefix.startswith("data:"):
        raise Problem("invalid", "messages: URLs are not fetched; send the image as data:image/…;base64,…")
    if not comma or not prefix.endswith(";base64"):
        raise Problem("invalid", "messages: the data: URI is not base64; send data:image/…;base64,…")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("invalid", "messages: the data: URI holds broken base64") from None


async def _stream(detector: Detector, upload: Upload, options: JudgingOptions, request_id: str) -> Response:
    pieces = _pieces(detector, upload, options)
    first = await anext(pieces)
    if isinstance(first, Problem):
        await pieces.aclose()
        raise first
    envelope = _envelope(detector, request_id, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _line({**envelope, "choices": [choice], **extra})

    async def body() -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces):
            yield chunk({"role": "assistant", "content": ""}, fakescan=_verdict(first, options))
            sent = 0
            async for piece in pieces:
                if isinstance(piece, Problem):
                    yield _line({"error": {"message": piece.detail, "code": piece.code, "type": "server_error"}})
                    return
                text = (piece.explanation or "")[sent:]
                if text:
                    sent += len(text)
                    yield chunk({"content": text})
            yield chunk({}, "stop")
            yield b"data: [DONE]\n\n"

    return event_stream(body())


async def _pieces(
    detector: Detector, upload: Upload, options: JudgingOptions
) -> AsyncGenerator[Result | Problem, None]:
    limit_s = detector.config.limits.request_timeout_s
    try:
        async with asyncio.timeout(limit_s), aclosing(detector.stream(upload, options)) as growing:
            async for part in growing:
                result = part if isinstance(part, Result) else part.result
                yield refusal(result) or result
    except TimeoutError:
        yield too_slow(limit_s)


def _envelope(detector: Detector, request_id: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": int(time.time()), "model": detector.model}


def _verdict(result: Result, options: JudgingOptions) -> dict[str, Any]:
    wanted = {"verdict", "score", "logit", "off_script", "width", "height", "sha256"}
    return {**result.model_dump(mode="json", include=wanted), "threshold": options.calibration.threshold}


def _line(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
