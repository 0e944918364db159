"""Fields of OpenAI's requests that change the answer and cannot be honoured: refused in words, never ignored."""

from collections.abc import Callable, Mapping
from typing import Any

from fakescan.serve.problem import Problem

_NO_TOOLS = "no tools are called here; leave it out, or set it to auto. For fields, use a JSON schema as the format"
_NO_STATE = "nothing is kept between requests; send the image with each"
_NO_GRAMMAR = "use response_format with json_object or json_schema"


def _is_forced(choice: Any) -> bool:
    """Whether a tool must be called."""
    if isinstance(choice, dict):
        return bool(choice.get("mode", "required") != "auto")
    return choice not in (None, "auto", "none")


def _is_given(value: Any) -> bool:
    return value not in (None, False, "", [], {})


_UNSUPPORTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
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
}


def refuse_unsupported(fields: Mapping[str, Any]) -> None:
    """Raises Problem for the first field of a request that cannot be honoured."""
    for name, (applies, words) in _UNSUPPORTED.items():
        if name in fields and applies(fields[name]):
            raise Problem("invalid", f"{name}: cannot be honoured: {words}", param=name)
