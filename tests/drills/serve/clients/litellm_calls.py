"""Calls of LiteLLM: `litellm_calls.py URL MODEL IMAGE`. Prints what came back, as JSON."""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
import litellm


class Finding(BaseModel):
    """What is wanted."""

    verdict: str
    score: float
    explanation: str


def main(url: str, model: str, image: str) -> None:
    """Makes the calls."""
    data = base64.b64encode(Path(image).read_bytes()).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{data}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Is this real?"}, part]}]
    given: dict[str, Any] = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "num_retries": 0}
    answer = litellm.completion(messages=messages, **given)
    pieces = litellm.completion(messages=messages, stream=True, stream_options={"include_usage": True}, **given)
    streamed = list(pieces)
    found = {
        "completion": answer.choices[0].message.content,
        "usage": answer.usage.completion_tokens,
        "finish": answer.choices[0].finish_reason,
        "stream": "".join(piece.choices[0].delta.content or "" for piece in streamed if piece.choices),
        "stream_usage": next(usage.completion_tokens for p in streamed if (usage := getattr(p, "usage", None))),
        "json": json.loads(
            litellm.completion(messages=messages, response_format={"type": "json_object"}, **given)
            .choices[0]
            .message.content
        ),
        "schema": json.loads(
            litellm.completion(messages=messages, response_format=Finding, **given).choices[0].message.content
        ),
        "responses": litellm.responses(
            input=[{"role": "user", "content": [{"type": "input_image", "image_url": part["image_url"]["url"]}]}],
            **given,
        )
        .output[0]
        .content[0]
        .text,
    }
    try:
        litellm.completion(messages=messages, tools=[{"type": "function", "function": {"name": "f"}}],
                           tool_choice="required", **given)  # fmt: skip
    except litellm.exceptions.APIError as error:
        found["tools"] = str(error)
    except litellm.exceptions.BadRequestError as error:
        found["tools"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
