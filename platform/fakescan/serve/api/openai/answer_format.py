"""The answer as JSON: for `response_format` json_object, and for schemas that the answer's fields can fill."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fakescan.serve.problem import Problem

FIELDS: Mapping[str, Sequence[Any]] = {
    "verdict": ("real", "fake", "uncertain"),
    "finding": ("real", "fake", "uncertain", "no forgery found", "means nothing"),
    "score": (0.0, 0.25, 0.75, 1.0),
    "threshold": (0.25, 0.75),
    "explanation": ("This is a fake image. " + "Words. " * 300,),
    "remark": ("The model leans to fake.", None),
}
"""What a JSON answer can hold, and values that each may have: a schema must accept them all."""
OBJECT_FIELDS = tuple(FIELDS)

_NOTES = frozenset({"title", "description", "default", "examples", "$schema", "$id", "$comment", "format"})
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"})
_KEYWORDS = _NOTES | _BOUNDS | {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
_OBJECT_KEYWORDS = _NOTES | {"type", "properties", "required", "additionalProperties", "$defs", "definitions", "$ref"}
_MAX_STEPS = 1000
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True)
class AnswerFormat:
    """The fields of a JSON answer, in their order; null for those that are none of ours."""

    fields: tuple[str, ...]

    def text(self, values: Mapping[str, Any]) -> str:
        """The answer as JSON."""
        return json.dumps({name: values.get(name) for name in self.fields}, ensure_ascii=False)


def read_format(given: Any, field: str, verdicts: Sequence[str]) -> AnswerFormat | None:
    """The format that a request asks for, in the field of this name; None for text.

    `verdicts`: those that an answer here can have. Raises Problem for a format that cannot be honoured.
    """
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return AnswerFormat(OBJECT_FIELDS)
    if kind != "json_schema":
        words = f"{field}.type: {str(kind)[:50]!r} cannot be honoured; it is text, json_object or json_schema"
        raise Problem("invalid", words, param=f"{field}.type")
    # Chat completions have the schema one level deeper than responses.
    nested = given.get("json_schema")
    place = f"{field}.json_schema.schema" if nested is not None else f"{field}.schema"
    schema = nested.get("schema") if isinstance(nested, dict) else given.get("schema")
    return _Schema(schema, place, verdicts).format()


class _Schema:
    """A client's schema. It says of every field whether each value that the answer may have fits."""

    def __init__(self, root: Any, place: str, verdicts: Sequence[str]) -> None:
        self._root = root
        self._place = place
        self._values = {**FIELDS, "verdict": verdicts}
        self._steps = 0

    def format(self) -> AnswerFormat:
        """The fields of the answer. Raises Problem."""
        schema = self._resolve(self._root)
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise self._refuse("it must be the schema of an object")
        if unknown := sorted(schema.keys() - _OBJECT_KEYWORDS):
            raise self._refuse(f"{unknown[0][:50]} cannot be honoured")
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise self._refuse("properties must be an object and required a list")
        if not isinstance(schema.get("additionalProperties", True), bool):
            raise self._refuse("additionalProperties must be true or false")
        names = [name for name in properties if self._is_given(name, properties[name], name in required)]
        for name in required:
            if name not in names:
                raise self._refuse_name(str(name))
        if not names and not required:
            return AnswerFormat(OBJECT_FIELDS if schema.get("additionalProperties", True) else ())
        return AnswerFormat(tuple(names))

    def _is_given(self, name: str, schema: Any, is_required: bool) -> bool:
        if name not in self._values:
            if self._fits(schema, None):
                return True
            if is_required:
                raise self._refuse_name(name)
            return False
        for value in self._values[name]:
            if not self._fits(schema, value):
                shown = json.dumps(value)
                raise self._refuse(f"{name} must allow {shown if len(shown) < 50 else 'a text of any length'}")
        return True

    def _fits(self, schema: Any, value: Any) -> bool:
        self._count()
        if isinstance(schema, bool):
            return schema
        schema = self._resolve(schema)
        if not isinstance(schema, dict):
            raise self._refuse("a schema must be an object")
        if unknown := sorted(schema.keys() - _KEYWORDS):
            if value is None and "type" in schema and not _has_type(schema["type"], value):
                return False  # whatever else it asks of a value that is not ours
            raise self._refuse(f"{unknown[0][:50]} cannot be honoured")
        for choice in ("anyOf", "oneOf", "allOf"):
            branches = schema.get(choice)
            if branches is not None:
                if not isinstance(branches, list):
                    raise self._refuse(f"{choice} must be a list")
                matching = sum(self._fits(branch, value) for branch in branches)
                wanted = {"anyOf": matching > 0, "oneOf": matching == 1, "allOf": matching == len(branches)}
                if not wanted[choice]:
                    return False
        return (
            _has_type(schema.get("type"), value)
            and ("enum" not in schema or (isinstance(schema["enum"], list) and value in schema["enum"]))
            and ("const" not in schema or schema["const"] == value)
            and _within(schema, value)
        )

    def _resolve(self, schema: Any) -> Any:
        """The schema that references lead to."""
        while isinstance(schema, dict) and "$ref" in schema:
            self._count()
            reference = schema["$ref"]
            if not isinstance(reference, str) or not reference.startswith("#"):
                raise self._refuse("only references within the schema can be honoured")
            schema = self._root
            for part in filter(None, reference.removeprefix("#").split("/")):
                schema = schema.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
            if schema is None:
                raise self._refuse(f"the reference {reference[:100]} leads nowhere")
        return schema

    def _count(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise self._refuse("it is too complicated")

    def _refuse_name(self, name: str) -> Problem:
        return self._refuse(f"the answer has no {name[:50]!r}, it has {', '.join(FIELDS)}")

    def _refuse(self, words: str) -> Problem:
        return Problem("invalid", f"{self._place}: {words}", param=self._place)


def _has_type(given: Any, value: Any) -> bool:
    if given is None:
        return True
    names = given if isinstance(given, list) else [given]
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES.get(name, ())) for name in names if isinstance(name, str))


def _within(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a number or a text is within the bounds of a schema."""
    bounds = {name: bound for name in _BOUNDS if isinstance(bound := schema.get(name), int | float)}
    if isinstance(value, str):
        return bounds.get("minLength", 0) <= len(value) <= bounds.get("maxLength", float("inf"))
    if not isinstance(value, int | float):
        return True
    return (
        bounds.get("minimum", value) <= value <= bounds.get("maximum", value)
        and ("exclusiveMinimum" not in bounds or bounds["exclusiveMinimum"] < value)
        and ("exclusiveMaximum" not in bounds or value < bounds["exclusiveMaximum"])
    )
