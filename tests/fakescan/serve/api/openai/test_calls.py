"""Calls of OpenAI's Python client, and what comes back: the table in docs/serve.md."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from fakescan.serve.detector import Detector
from tests.fakescan.serve.api.replica import application, send

pytestmark = pytest.mark.unit

PNG = {"content-type": "image/png"}


def ask(detector: Detector, call: Callable[[AsyncOpenAI], Awaitable[Any]]) -> Any:
    """What a call of the client returns."""

    async def exchange() -> Any:
        transport = httpx2.ASGITransport(cast(Any, application(detector)))
        async with httpx2.AsyncClient(transport=transport) as http:
            client = AsyncOpenAI(base_url="http://server/v1", api_key="none", max_retries=0, http_client=http)
            return await call(client)

    return asyncio.run(exchange())


def image(uri: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri}}


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "Is this real?"}, *parts]}]


def chat(detector: Detector, uri: str, **options: Any) -> Any:
    messages = options.pop("messages", user(image(uri)))
    return ask(
        detector, lambda client: client.chat.completions.create(model=detector.model, messages=messages, **options)
    )


def stream(detector: Detector, uri: str, **options: Any) -> list[Any]:
    async def read(client: AsyncOpenAI) -> list[Any]:
        pieces = await client.chat.completions.create(
            model=detector.model, messages=cast(Any, user(image(uri))), stream=True, **options
        )
        return [piece async for piece in pieces]

    return cast(list[Any], ask(detector, read))


# --- chat completions -------------------------------------------------------------------------------------------------


def test_a_completion_has_usage_and_says_how_it_ended(detector: Detector, uri: str) -> None:
    completion = chat(detector, uri)
    (choice,) = completion.choices
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert choice.logprobs is None
    assert completion.usage.prompt_tokens == detector.checkpoint.prompt_tokens > 0
    assert completion.usage.completion_tokens == 9  # the simulated engine's eight and the verdict's
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + 9
    assert completion.system_fingerprint.startswith("fp_")
    assert completion.model_extra["fakescan"]["verdict"] in ("real", "fake")
    assert completion.model_extra["fakescan"]["threshold"] == detector.calibration.threshold


def test_a_stream_has_the_same_words_and_usage_where_asked(detector: Detector, uri: str) -> None:
    whole = chat(detector, uri)
    plain = stream(detector, uri)
    assert plain[0].choices[0].delta.role == "assistant"
    assert plain[0].model_extra["fakescan"] == {**whole.model_extra["fakescan"], "explanation": None}
    assert "".join(piece.choices[0].delta.content or "" for piece in plain) == whole.choices[0].message.content
    assert [piece.choices[0].finish_reason for piece in plain[-2:]] == [None, "stop"]
    assert {piece.usage for piece in plain} == {None}
    counted = stream(detector, uri, stream_options={"include_usage": True})
    assert counted[-1].choices == []
    assert counted[-1].usage == whole.usage
    assert {piece.usage for piece in counted[:-1]} == {None}
    assert len({piece.id for piece in counted}) == 1


def test_the_clients_own_helper_for_streams(detector: Detector, uri: str) -> None:
    async def read(client: AsyncOpenAI) -> Any:
        messages = cast(Any, user(image(uri)))
        async with client.chat.completions.stream(model=detector.model, messages=messages) as events:
            kinds = [event.type async for event in events]
            return kinds, await events.get_final_completion()

    kinds, final = ask(detector, read)
    assert "content.done" in kinds
    assert final.choices[0].message.content == chat(detector, uri).choices[0].message.content


class Finding(BaseModel):
    """What a program wants."""

    verdict: Literal["real", "fake"]
    score: float
    explanation: str


def test_json_as_an_object_and_by_a_schema(detector: Detector, uri: str) -> None:
    plain = chat(detector, uri)
    completion = chat(detector, uri, response_format={"type": "json_object"})
    answer = json.loads(completion.choices[0].message.content)
    assert answer["verdict"] == plain.model_extra["fakescan"]["verdict"]
    assert answer["score"] == plain.model_extra["fakescan"]["score"]
    assert plain.choices[0].message.content.endswith(answer["explanation"])
    parsed = ask(
        detector,
        lambda client: client.chat.completions.parse(
            model=detector.model, messages=cast(Any, user(image(uri))), response_format=Finding
        ),
    )
    finding = parsed.choices[0].message.parsed
    assert isinstance(finding, Finding)
    assert finding.model_dump() == {name: answer[name] for name in Finding.model_fields}
    pieces = stream(detector, uri, response_format={"type": "json_object"})
    assert json.loads("".join(piece.choices[0].delta.content or "" for piece in pieces)) == answer


def test_log_probabilities_of_the_word_that_decides(detector: Detector, uri: str) -> None:
    completion = chat(detector, uri, logprobs=True, top_logprobs=5)
    (token,) = completion.choices[0].logprobs.content
    words = {word.token: word.logprob for word in token.top_logprobs}
    facts = completion.model_extra["fakescan"]
    assert set(words) == {" fake", " real"}
    assert words[" fake"] - words[" real"] == pytest.approx(facts["logit"], abs=1e-6)
    assert token.logprob == max(words.values())
    assert bytes(token.bytes).decode() == token.token
    bare = chat(detector, uri, logprobs=True).choices[0].logprobs.content[0]
    assert (bare.token, bare.top_logprobs) == (token.token, [])
    first, *others = stream(detector, uri, logprobs=True, top_logprobs=2)
    assert first.choices[0].logprobs.content[0] == token
    assert {piece.choices[0].logprobs for piece in others} == {None}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7, "top_p": 0.9, "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0.5, "user": "u"},
        {"n": 1, "stop": None, "logit_bias": {}, "modalities": ["text"], "store": False, "metadata": {"a": "b"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "tool_choice": "auto"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "tool_choice": "none"},
        {"response_format": {"type": "text"}, "max_completion_tokens": 100, "reasoning_effort": "low"},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"extra_query": {"api-version": "1"}, "extra_body": {"best_of": 1, "echo": False, "use_beam_search": False}},
        {"stream": False, "max_tokens": None, "logprobs": False, "top_logprobs": None, "parallel_tool_calls": False},
    ],
)
def test_settings_that_change_nothing_are_taken(detector: Detector, uri: str, options: dict[str, Any]) -> None:
    assert chat(detector, uri, **options).choices[0].message.content == chat(detector, uri).choices[0].message.content


FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": FUNCTION}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, "tool_choice"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "f"}}, "function_call"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}, "tool_choice"),
        ({"extra_body": {"threshold": 0.9}}, "threshold"),
        ({"extra_body": {"explain": "none"}}, "explain"),
        ({"extra_query": {"threshold": "0.9"}}, "threshold"),
        ({"extra_body": {"text": {"format": {"type": "json_object"}}}}, "text"),
        ({"extra_body": {"max_output_tokens": 9}}, "max_output_tokens"),
        ({"extra_body": {"stop_token_ids": [2]}}, "stop_token_ids"),
        ({"extra_body": {"best_of": 3}}, "best_of"),
        ({"extra_body": {"echo": True}}, "echo"),
        ({"n": 2}, "n"),
        ({"stop": ["."]}, "stop"),
        ({"stop": "."}, "stop"),
        ({"logit_bias": {"1": 100}}, "logit_bias"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"extra_body": {"guided_json": {"type": "object"}}}, "guided_json"),
        ({"extra_body": {"structured_outputs": {"regex": "a"}}}, "structured_outputs"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object",
          "required": ["boxes"]}}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream": "maybe"}, "stream"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_its_name(
    detector: Detector, uri: str, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        chat(detector, uri, **options)
    assert refused.value.param == field
    assert refused.value.type == "invalid_request_error"
    assert cast(dict[str, Any], refused.value.body)["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    "write",
    [
        lambda uri: {"type": "image_url", "image_url": uri},
        lambda uri: {"type": "image_url", "image_url": {"url": uri, "detail": "high"}},
        lambda uri: {"type": "input_image", "image_url": uri},
        lambda uri: {"type": "input_image", "image_url": {"url": uri}},
        lambda uri: image(uri.replace("data:image/png;base64,", "DATA:IMAGE/PNG;BASE64,")),
        lambda uri: image(uri.replace("data:image/png;base64,", "")),
        lambda uri: image(uri.rstrip("=")),
        lambda uri: image(uri.replace("+", "-").replace("/", "_").replace("data:image_png", "data:image/png")),
        lambda uri: image("data:image/png;base64," + base64.encodebytes(base64.b64decode(uri[22:])).decode()),
    ],
)
def test_an_image_in_every_form_that_people_write(detector: Detector, uri: str, write: Callable[[str], Any]) -> None:
    completion = chat(detector, uri, messages=user(write(uri)))
    assert completion.model_extra["fakescan"] == chat(detector, uri).model_extra["fakescan"]


def test_a_long_chat_is_about_its_newest_image(detector: Detector, uri: str) -> None:
    older = image("data:image/png;base64,AAAA")
    history = [
        {"role": "system", "content": "You are careful."},
        *user(older, older),
        {"role": "assistant", "content": "This is a real image.", "tool_calls": []},
        *user(image(uri)),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        {"role": "user", "content": ["and why?", {"type": "text", "text": "?"}]},
    ]
    completion = chat(detector, uri, messages=history * 50)
    assert completion.model_extra["fakescan"] == chat(detector, uri).model_extra["fakescan"]


@pytest.mark.parametrize(
    ("messages", "field", "words"),
    [
        (user(), "messages", "0 images"),
        ([{"role": "user", "content": "hello"}], "messages", "0 images"),
        (["hello"], "messages", "0 images"),
        ([], "messages", "at least 1 item"),
        ([{"role": "user", "content": "a"}] * 1001, "messages", "at most 1000 items"),
        (user(image("data:,"), image("data:,")), "messages[0].content", "2 images"),
        (user(image("http://127.0.0.1/a.png")), "messages[0].content[1].image_url.url", "URLs are not fetched"),
        (user({"type": "image_url"}), "messages[0].content[1].image_url", "missing"),
        (user({"type": "image_url", "image_url": {}}), "messages[0].content[1].image_url.url", "missing"),
        (user({"type": "input_image", "file_id": "f"}), "messages[0].content[1].image_url", "no files are kept"),
        (user({"type": "input_audio"}), "messages[0].content[1].type", "'input_audio' cannot be judged"),
        (user({"type": ["image_url"]}), "messages[0].content[1].type", "missing"),
        (user(None), "messages[0].content[1].type", "missing"),
        (user(image("data:image/png;base64,AA$A")), "messages[0].content[1].image_url.url", "broken base64"),
    ],
)
def test_what_is_wrong_with_a_message_is_said_with_its_place(
    detector: Detector, uri: str, messages: Any, field: str, words: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=words) as refused:
        chat(detector, uri, messages=messages)
    assert refused.value.param == field


@pytest.mark.parametrize(("data", "code"), [(b"no image", "not_an_image"), (b"\x89PNG\r\n\x1a\n", "truncated")])
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_image_that_cannot_be_judged_is_named(detector: Detector, data: bytes, code: str, is_stream: bool) -> None:
    given = cast(Any, user(image(f"data:image/png;base64,{base64.b64encode(data).decode()}")))
    with pytest.raises(openai.APIStatusError) as refused:
        ask(
            detector,
            lambda client: client.chat.completions.create(model=detector.model, messages=given, stream=is_stream),
        )
    assert refused.value.param == "messages[0].content[1].image_url.url"
    assert refused.value.code == code


def test_a_completion_has_what_detect_says(detector: Detector, uri: str) -> None:
    png = base64.b64decode(uri.partition(",")[2])
    (result,) = send(detector, "POST", "/v1/detect?explain=all", content=png, headers=PNG).json()["results"]
    facts = chat(detector, uri).model_extra["fakescan"]
    for name in result.keys() - {"index", "name", "error"}:
        assert facts[name] == result[name], name


def test_errors_are_those_that_the_client_knows(detector: Detector, uri: str) -> None:
    async def other_model(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.create(model="gpt-4o", messages=cast(Any, user(image(uri))))

    with pytest.raises(openai.NotFoundError, match="'gpt-4o' is not served here") as refused:
        ask(detector, other_model)
    assert refused.value.param == "model"
    with pytest.raises(openai.APIStatusError, match="no image begins with the bytes") as refused_image:
        chat(detector, uri, messages=user(image("data:image/png;base64,AAAA")))
    assert (refused_image.value.status_code, refused_image.value.code) == (415, "not_an_image")
    with pytest.raises(openai.NotFoundError):
        ask(detector, lambda client: client.completions.create(model=detector.model, prompt="x"))
    with pytest.raises(openai.NotFoundError):
        ask(detector, lambda client: client.files.list())


def test_models(detector: Detector) -> None:
    async def read(client: AsyncOpenAI) -> Any:
        (model,) = [model async for model in client.models.list()]
        return model, await client.models.retrieve(model.id)

    listed, retrieved = ask(detector, read)
    assert listed.id == retrieved.id == detector.model


# --- responses --------------------------------------------------------------------------------------------------------


def respond(detector: Detector, uri: str, **options: Any) -> Any:
    part = {"type": "input_image", "image_url": uri, "detail": "auto"}
    given = options.pop("input", [{"role": "user", "content": [{"type": "input_text", "text": "Real?"}, part]}])
    return ask(detector, lambda client: client.responses.create(model=detector.model, input=given, **options))


def test_a_response_says_what_a_completion_says(detector: Detector, uri: str) -> None:
    completion = chat(detector, uri)
    response = respond(detector, uri, include=["message.output_text.logprobs"], top_logprobs=2)
    assert response.output_text == completion.choices[0].message.content
    assert (response.status, response.error) == ("completed", None)
    assert response.usage.input_tokens == completion.usage.prompt_tokens
    assert response.usage.output_tokens == completion.usage.completion_tokens
    assert response.model_extra["fakescan"] == completion.model_extra["fakescan"]
    (token,) = response.output[0].content[0].logprobs
    assert {word.token for word in token.top_logprobs} == {" fake", " real"}
    older_form = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}]}]
    assert respond(detector, uri, input=older_form).output_text == response.output_text


def test_a_response_is_about_the_newest_image_whoever_sent_it(detector: Detector, uri: str) -> None:
    older = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    newer = {"type": "input_image", "image_url": uri}
    begun = [
        {"role": "user", "content": [older]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
    ]
    whole = respond(detector, uri)
    for output in (
        {"type": "function_call_output", "call_id": "1", "output": [newer]},
        {"type": "computer_call_output", "call_id": "1", "output": {"type": "computer_screenshot", "image_url": uri}},
    ):
        for given in ([output], [*begun, output], [*begun, output, *begun[1:]]):
            response = respond(detector, uri, input=given)
            assert response.model_extra["fakescan"] == whole.model_extra["fakescan"]
    text = {"type": "function_call_output", "call_id": "1", "output": "nothing"}
    asked = [{"role": "user", "content": [newer]}, *begun[1:], text]
    assert respond(detector, uri, input=asked).output_text == whole.output_text
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        respond(detector, uri, input=[{"type": "function_call_output", "call_id": "1", "output": [older, newer]}])
    assert refused.value.param == "input[0].output"


def test_a_response_has_the_clients_metadata(detector: Detector, uri: str) -> None:
    assert respond(detector, uri, metadata={"case": "7"}).metadata == {"case": "7"}
    assert respond(detector, uri).metadata == {}
    for wrong in ({"case": "x" * 600}, {"case": "x" * 5000}, {f"{number}": "" for number in range(17)}):
        with pytest.raises(openai.UnprocessableEntityError, match="metadata"):
            respond(detector, uri, metadata=wrong)


def test_a_response_by_a_schema(detector: Detector, uri: str) -> None:
    part = {"type": "input_image", "image_url": uri}
    given = cast(Any, [{"role": "user", "content": [part]}])
    response = ask(
        detector, lambda client: client.responses.parse(model=detector.model, input=given, text_format=Finding)
    )
    assert response.output_parsed.verdict == response.model_extra["fakescan"]["verdict"]
    answer = respond(detector, uri, text={"format": {"type": "json_object"}, "verbosity": "low"})
    assert json.loads(answer.output_text)["score"] == response.output_parsed.score


def test_a_response_as_a_stream(detector: Detector, uri: str) -> None:
    part = {"type": "input_image", "image_url": uri}
    given = cast(Any, [{"role": "user", "content": [part]}])

    async def raw(client: AsyncOpenAI) -> list[Any]:
        return [event async for event in await client.responses.create(model=detector.model, input=given, stream=True)]

    async def helped(client: AsyncOpenAI) -> Any:
        async with client.responses.stream(model=detector.model, input=given) as events:
            async for _ in events:
                pass
            return await events.get_final_response()

    events = ask(detector, raw)
    whole = respond(detector, uri)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage
    assert ask(detector, helped).output_text == whole.output_text


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"input": "Is this real?"}, "input"),
        ({"input": []}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"extra_body": {"response_format": {"type": "json_object"}}}, "response_format"),
        ({"extra_body": {"max_tokens": 5}}, "max_tokens"),
        ({"extra_body": {"threshold": 0.9}}, "threshold"),
        ({"extra_query": {"explain": "none"}}, "explain"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "array"}}}}, "text.format.schema"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
    ],
)  # fmt: skip
def test_what_a_response_cannot_honour(detector: Detector, uri: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        respond(detector, uri, **options)
    assert refused.value.param == field


def test_no_response_is_kept(detector: Detector) -> None:
    with pytest.raises(openai.NotFoundError):
        ask(detector, lambda client: client.responses.retrieve("resp_1"))
