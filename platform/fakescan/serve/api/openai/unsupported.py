"""Fields of OpenAI's requests that change the answer and cannot be honoured: refused in words, never ignored."""

from collections.abc import Callable, Mapping
from typing import Any

from fakescan.serve.problem import Problem

Unsupported = Mapping[str, tuple[Callable[[Any], bool], str]]
"""By the name of a field: whether a value asks for what cannot be had, and what is said then."""

_NO_TOOLS = "no tools are called here; leave it out, or set it to auto. For fields, use a JSON schema as the format"
_NO_STATE = "nothing is kept between requests; send the image with each"
_OF_DETECT = "it is an option of POST /v1/detect"
_NO_GRAMMAR = "use response_format with json_object or json_schema"


def _is_forced(choice: Any) -> bool:
    """Whether a tool must be called."""
    if isinstance(choice, dict):
        # {"type": "allowed_tools", "mode": …} of responses, and one level deeper of chat completions.
        nested = choice.get("allowed_tools")
        return bool((nested if isinstance(nested, dict) else choice).get("mode", "required") != "auto")
    return choice not in (None, "auto", "none")


def _is_given(value: Any) -> bool:
    return value not in (None, False, "", [], {})


_UNSUPPORTED: Unsupported = {
    "tool_choice": (_is_forced, _NO_TOOLS),
    "function_call": (_is_forced, _NO_TOOLS),
    "n": (lambda n: n not in (None, 1), "the answer is always the likeliest one; there is no second"),
    "stop": (_is_given, "an explanation does not end at words of yours; cut it, or use max_tokens"),
    "logit_bias": (_is_given, "it would change the verdict; use the threshold of POST /v1/detect"),
    "modalities": (lambda given: isinstance(given, list) and given != ["text"], "answers are text"),
    "audio": (_is_given, "answers are text"),
    "web_search_options": (lambda given: given is not None, "nothing is searched"),
    "guided_json": (_is_given, _NO_GRAMMAR),
    "guided_regex": (_is_given, _NO_GRAMMAR),
    "guided_choice": (_is_given, _NO_GRAMMAR),
    "guided_grammar": (_is_given, _NO_GRAMMAR),
    "structured_outputs": (_is_given, _NO_GRAMMAR),
    "previous_response_id": (_is_given, _NO_STATE),
    "conversation": (_is_given, _NO_STATE),
    "prompt": (_is_given, "no prompts are kept here; the checkpoint has its own"),
    "background": (_is_given, "the answer comes in the response"),
    "threshold": (lambda given: given is not None, _OF_DETECT),
    "explain": (lambda given: given is not None, _OF_DETECT),
    "best_of": (lambda given: given not in (None, 1), "the answer is always the likeliest one"),
    "use_beam_search": (_is_given, "the answer is always the likeliest one"),
    "min_tokens": (_is_given, "an explanation ends where the model ends it"),
    "stop_token_ids": (_is_given, "an explanation does not end at tokens of yours; cut it, or use max_tokens"),
    "echo": (_is_given, "the checkpoint has a prompt of its own, which is not shown"),
    "prompt_logprobs": (_is_given, "the checkpoint has a prompt of its own; logprobs are those of the verdict"),
}
CHAT: Unsupported = {
    **_UNSUPPORTED,
    "max_output_tokens": (_is_given, "it belongs to /v1/responses; here it is max_completion_tokens"),
    "text": (lambda given: isinstance(given, dict) and "format" in given,
             "its format belongs to /v1/responses; here it is response_format"),
}  # fmt: skip
RESPONSES: Unsupported = {
    **_UNSUPPORTED,
    "max_tokens": (_is_given, "it belongs to /v1/chat/completions; here it is max_output_tokens"),
    "max_completion_tokens": (_is_given, "it belongs to /v1/chat/completions; here it is max_output_tokens"),
    "response_format": (_is_given, "it belongs to /v1/chat/completions; here it is text.format"),
}


def refuse_unsupported(fields: Mapping[str, Any], unsupported: Unsupported) -> None:
    """Raises Problem for the first field of a request that cannot be honoured."""
    for name, (applies, words) in unsupported.items():
        if name in fields and applies(fields[name]):
            raise Problem("invalid", f"{name}: cannot be honoured: {words}", param=name)


def refuse_options(query: Mapping[str, str]) -> None:
    """Raises Problem for an option of POST /v1/detect in a URL's query; others are of proxies and gateways."""
    for name in ("threshold", "explain", "stream"):
        if name in query:
            raise Problem("invalid", f"{name}: a query is read by POST /v1/detect only", param=name)
