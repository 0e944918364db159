"""POST /v1/responses: the newer format of OpenAI's API. Nothing is kept: a response cannot be asked for again."""

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
from fakescan.serve.api.openai.unsupported import RESPONSES, refuse_unsupported
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.detector import Detector, JudgedImage
from fakescan.serve.outcome_header import outcome_header
from fakescan.serve.problem import Problem

MAX_ITEMS = 1000
_LOGPROBS = "message.output_text.logprobs"

_ITEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "InputItem",
    "description": "The newest message that has an image must have exactly one; it is judged. Other items are ignored.",
    "properties": {
        "role": {"type": "string"},
        "content": {"oneOf": [{"type": "string"}, {"type": "array", "items": PART_SCHEMA}]},
    },
}


class TextOptions(BaseModel):
    """How the text is wanted."""

    model_config = ConfigDict(extra="allow")

    format: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "type": {"enum": ["text", "json_object", "json_schema"]},
                            "name": {"type": "string"},
                            "schema": {"type": "object"},
                        },
                        "required": ["type"],
                    },
                    {"type": "null"},
                ]
            }
        ),
    ] = None
    """text, json_object, or a json_schema that verdict, finding, score, threshold, explanation and remark can fill."""


class ResponsesRequest(BaseModel):
    """The part of OpenAI's request that is read. Sampling settings are ignored: the answer is always the likeliest."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: Annotated[Any, WithJsonSchema({"type": "array", "minItems": 1, "items": _ITEM_SCHEMA})]
    stream: bool | None = None
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None
    """Comes back as it is."""
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class OutputText(BaseModel):
    """The text of the answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] = []


class OutputMessage(BaseModel):
    """The answer."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class InputDetails(BaseModel):
    """No prompt comes out of a cache."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """No token is hidden."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """Tokens of the checkpoint's own prompt, image included, and of the answer."""

    input_tokens: int
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class OpenAIResponse(BaseModel):
    """The response."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete"]
    error: None = None
    incomplete_details: dict[str, str] | None = None
    instructions: None = None
    metadata: dict[str, str] = {}
    model: str
    output: list[OutputMessage]
    parallel_tool_calls: bool = False
    temperature: float = 0.0
    tool_choice: Literal["none"] = "none"
    tools: list[Any] = []
    top_p: float = 1.0
    max_output_tokens: int | None = None
    previous_response_id: None = None
    store: Literal[False] = False
    usage: ResponseUsage | None = None
    fakescan: dict[str, Any] | None = None
    """The verdict, with the fields of a result of POST /v1/detect."""


def read_responses(detector: Detector, body: bytes) -> Question:
    """What a request asks. It may take a while. Raises Problem."""
    json_body = cut_long_strings(body)
    request = json_body.read(ResponsesRequest)
    detector.require(request.model if not json_body.text(request.model).raw else "a name of over 4,095 bytes")
    refuse_unsupported(request.model_extra or {}, RESPONSES)
    if not isinstance(request.input, list):
        words = "input: no messages; send a list with a message whose content has an input_image with a data: URI"
        raise Problem("invalid", words, param="input")
    if len(request.input) > MAX_ITEMS:
        raise Problem("invalid", f"input: more than {MAX_ITEMS} items", param="input")
    metadata = request.metadata or {}
    if any(json_body.text(text).raw for text in metadata.values()):
        raise Problem("invalid", "metadata: a value has more than 512 characters", param="metadata")
    options = detector.options("all", None, request.max_output_tokens)
    wanted = request.text.format if request.text else None
    answer_format = read_format(wanted, "text.format", possible_values(detector, options))
    image = find_image(request.input, "input")
    data = decode_image(json_body.text(image.text).pieces(), image.place)
    return Question(
        upload=Upload(0, None, data),
        place=image.place,
        metadata=metadata,
        options=options,
        answer_format=answer_format,
        top_logprobs=(request.top_logprobs or 0) if _LOGPROBS in (request.include or ()) else None,
        stream=bool(request.stream),
    )


async def respond(detector: Detector, question: Question, scope: Scope) -> Response:
    """The explanation as a message, and the verdict beside it as `fakescan`."""
    answer = _Answer(detector, question, str(scope["fakescan.request_id"]))
    if question.stream:
        return await _stream(answer, scope)
    judged = await judge(detector, question, scope)
    content = answer.response(judged).model_dump(mode="json")
    return JSONResponse(content, headers=outcome_header([judged.result]))


class _Answer:
    """One response, unfinished or whole."""

    def __init__(self, detector: Detector, question: Question, request_id: str) -> None:
        self.detector = detector
        self.question = question
        self.item_id = f"msg_{request_id}"
        self._id = f"resp_{request_id}"
        self._created_at = int(time.time())

    def response(self, judged: JudgedImage | None) -> OpenAIResponse:
        """The response, whole or before there is an answer."""
        response = OpenAIResponse(
            id=self._id,
            created_at=self._created_at,
            status="in_progress",
            model=self.detector.model,
            output=[],
            metadata=dict(self.question.metadata),
            max_output_tokens=self.question.options.max_new_tokens,
        )
        if judged is None:
            return response
        prompt, written = self.detector.checkpoint.prompt_tokens, judged.completion_tokens
        message = self.message(judged)
        response.output = [message]
        response.status = message.status
        response.completed_at = int(time.time())
        if message.status == "incomplete":
            response.incomplete_details = {"reason": "max_output_tokens"}
        response.usage = ResponseUsage(input_tokens=prompt, output_tokens=written, total_tokens=prompt + written)
        response.fakescan = verdict_of(self.detector, judged.result, self.question)
        return response

    def message(self, judged: JudgedImage | None) -> OutputMessage:
        """The one item of the output, whole or before its text."""
        if judged is None:
            return OutputMessage(id=self.item_id, status="in_progress", content=[])
        status: Literal["completed", "incomplete"] = "incomplete" if is_cut(judged, self.question) else "completed"
        return OutputMessage(id=self.item_id, status=status, content=[self.text(judged)])

    def text(self, judged: JudgedImage | None) -> OutputText:
        """The text, whole or empty."""
        if judged is None:
            return OutputText(text="")
        logprobs = token_logprobs(self.detector, judged.result, self.question) or []
        return OutputText(text=words_of(judged, self.question), logprobs=logprobs)


async def _stream(answer: _Answer, scope: Scope) -> Response:
    """The events of a response. It begins with the first score, so that until then it can be a refusal."""
    _, parts = await growing(answer.detector, answer.question, scope)
    number = -1

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **fields})}\n\n".encode()

    item = {"output_index": 0, "item_id": answer.item_id, "content_index": 0}

    async def body() -> AsyncGenerator[bytes, None]:
        async with aclosing(parts):
            begun = answer.response(None).model_dump(mode="json")
            yield event("response.created", response=begun)
            yield event("response.in_progress", response=begun)
            empty = answer.message(None).model_dump(mode="json")
            yield event("response.output_item.added", output_index=0, item=empty)
            yield event("response.content_part.added", **item, part=answer.text(None).model_dump(mode="json"))
            sent = 0
            async for part in parts:
                if isinstance(part, Problem):
                    error = part.openai_error()
                    yield event("error", code=error["code"], message=error["message"], param=error["param"])
                    return
                if isinstance(part, JudgedImage):
                    for ending in _ending(answer, part, sent, item):
                        yield event(ending[0], **ending[1])
                elif words := words_so_far(part, answer.question)[sent:]:
                    sent += len(words)
                    yield event("response.output_text.delta", **item, delta=words, logprobs=[])

    return event_stream(body())


def _ending(answer: _Answer, judged: JudgedImage, sent: int, item: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events from the last piece of the text on."""
    text = answer.text(judged).model_dump(mode="json")
    whole = answer.response(judged)
    events: list[tuple[str, dict[str, Any]]] = []
    if words := text["text"][sent:]:
        events.append(("response.output_text.delta", {**item, "delta": words, "logprobs": text["logprobs"]}))
    return [
        *events,
        ("response.output_text.done", {**item, "text": text["text"], "logprobs": text["logprobs"]}),
        ("response.content_part.done", {**item, "part": text}),
        ("response.output_item.done", {"output_index": 0, "item": whole.output[0].model_dump(mode="json")}),
        (f"response.{whole.status}", {"response": whole.model_dump(mode="json")}),
    ]
