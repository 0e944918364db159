"""Settings from YAML files, and their mistakes in one line."""

import os
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fakescan.settings.suggestion import closest, closest_setting, shown_place
from fakevlm.errors import UserError


def read_yaml(file: Path, setting: str = "--config") -> dict[str, Any]:
    """The settings of a YAML file. Raises UserError, which begins with `setting`: how the file was named."""
    from fakescan.settings.yaml_document import YamlMistakeError, parse_yaml

    try:
        settings = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{setting}: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1:,} is {error.object[error.start]:#04x}"
        raise UserError(f"{setting}: {file} is not YAML: it is not text in UTF-8 ({place})") from None
    except YamlMistakeError as error:
        raise UserError(f"{setting}: {file} is not YAML: {error}") from None
    if not isinstance(settings, dict):
        found = "is empty; it" if settings is None else "holds a list; it" if isinstance(settings, list) else ""
        raise UserError(" ".join(f"{setting}: {file} {found} must hold settings as `name: value` lines".split()))
    return settings


def check_job_output(setting: str, output: str) -> None:
    """Raise UserError for a relative path inside a Ray job, which runs in a copy of its folder that is deleted."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and "://" not in output and not Path(output).is_absolute():
        raise UserError(
            f"{setting}: {output} would be lost with the job's copy of its folder; give a URL or a full path"
        )


def first_mistake(
    error: ValidationError,
    *,
    command: str | None = "scan",
    noun: str = "setting",
    model: type[BaseModel] | None = None,
) -> str:
    """A pydantic error as `setting: what is wrong (got value)`, the first one and the number of others.

    `command` is whose help an unknown setting is looked up in; None for what came in a request, where `noun` says what
    the parts of one are called. `model`, the class that was validated, lets the line propose what was meant.
    """
    errors = _of_one_branch(error.errors(include_url=False))
    first = errors[0]
    if command is not None:  # what is missing may be misspelt
        first = next((detail for detail in errors if detail["type"] != "missing"), first)
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    place = first["loc"]
    where = ".".join(map(str, place)) if model is None else shown_place(model, place)
    if first["type"] == "extra_forbidden":
        meant = closest_setting(model, place) if model is not None else None
        help_ = f"; see fakescan {command} --help" if command else ""
        return f"{where}: unknown {noun}{f' (did you mean {meant}?)' if meant else help_}{more}"
    message, got, words = _explained(first)
    if not where:  # of several settings together; the message names them, perhaps as `setting: what is wrong`
        whole = "settings" if command else "request"
        where, _, message = message.partition(": ") if re.match(r"[a-z_]+: ", message) else (whole, "", message)
    notes = ""
    if isinstance(got, str | int | float) and "store" not in where:
        meant = closest(str(got), words)
        notes = f" (got {got!r}; did you mean {meant}?)" if meant else f" (got {got!r})"
    return f"{where}: {message}{notes}{more}"


def _explained(detail: ErrorDetails) -> tuple[str, Any, list[str]]:
    """The message, the value that it is about, and the words that might have been meant."""
    message = detail["msg"].removeprefix("Value error, ")
    context = detail.get("ctx", {})
    if detail["type"] == "union_tag_invalid":
        words = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        return f"Input should be {' or '.join(map(repr, words))}", context.get("tag"), words
    if detail["type"] in ("tuple_type", "list_type"):
        message = "Input should be a list, such as [a, b]"
    words = re.findall(r"'([^']*)'", str(context.get("expected", ""))) if detail["type"] == "literal_error" else []
    return message, detail.get("input"), words


def _of_one_branch(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """The errors without those of a union's simple types where a part was given: it cannot have been meant as text."""
    parts = {detail["loc"][0] for detail in errors if len(detail["loc"]) > 2}
    simple = ("string_type", "int_type", "float_type", "bool_type")
    of_parts = [
        detail
        for detail in errors
        if not (
            detail["type"] in simple
            and isinstance(detail.get("input"), dict)
            and len(detail["loc"]) > 1
            and detail["loc"][0] in parts
        )
    ]
    return of_parts or errors
