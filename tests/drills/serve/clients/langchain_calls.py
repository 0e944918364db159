"""Calls of LangChain's ChatOpenAI: `langchain_calls.py URL MODEL IMAGE`. Prints what came back, as JSON."""

import base64
import json
import sys
from pathlib import Path
from typing import Any, Literal

import openai
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Finding(BaseModel):
    """What is wanted."""

    verdict: Literal["real", "fake"]
    score: float
    explanation: str


class Unknown(BaseModel):
    """What no answer has."""

    confidence: float


def main(url: str, model: str, image: str) -> None:
    """Makes the calls."""
    data = base64.b64encode(Path(image).read_bytes()).decode()
    question = [HumanMessage([{"type": "text", "text": "Is this real?"}, _part(data)])]
    standard = [HumanMessage([{"type": "image", "base64": data, "mime_type": "image/webp"}])]
    chat = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, max_retries=0)  # type: ignore[arg-type]
    responses = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=model, max_retries=0, use_responses_api=True)  # type: ignore[arg-type]
    answer = chat.invoke(question)
    found: dict[str, Any] = {
        "invoke": answer.content,
        "usage": answer.usage_metadata["output_tokens"] if answer.usage_metadata else 0,
        "finish": answer.response_metadata["finish_reason"],
        "standard": chat.invoke(standard).content,
        "stream": "".join(str(piece.content) for piece in chat.stream(question)),
        "schema": chat.with_structured_output(Finding).invoke(question).model_dump(),  # type: ignore[union-attr]
        "json_mode": chat.with_structured_output(method="json_mode").invoke(question),
        "responses": responses.invoke(question).text,
        "responses_stream": "".join(piece.text for piece in responses.stream(question)),
        "logprobs": len(
            chat.bind(logprobs=True, top_logprobs=2).invoke(question).response_metadata["logprobs"]["content"]
        ),
    }
    for name, refused in {
        "tools": lambda: chat.with_structured_output(Finding, method="function_calling").invoke(question),
        "unknown": lambda: chat.with_structured_output(Unknown).invoke(question),
    }.items():
        try:
            refused()
        except openai.UnprocessableEntityError as error:
            found[name] = str(error)
    print(json.dumps(found))


def _part(data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{data}"}}


if __name__ == "__main__":
    main(*sys.argv[1:])
