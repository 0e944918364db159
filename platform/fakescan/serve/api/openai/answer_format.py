"""The answer as JSON: for `response_format` json_object, and for schemas that the answer's fields can fill."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fakescan.serve.problem import Problem

_WORDS = "Words. " * 300
FIELDS: Mapping[str, Sequence[Any]] = {
    "verdict": ("real", "fake", "uncertain"),
    "finding": ("real", "fake", "uncertain", "no forgery found", "means nothing"),
    "score": (0.0, *(round(number / 16 + 0.0137, 4) for number in range(16)), 1.0),
    "threshold": (0.0137, 0.9863),
    "explanation": ("A.", _WORDS),
    "remark": (None, "A.", _WORDS),
}
"""What a JSON answer can hold, and values that each may have: a schema must accept them all. Scores are odd ones, which
no list has by chance."""
OBJECT_FIELDS = tuple(FIELDS)

_NOTES = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "format"}
) | {"$schema", "$id", "$comment"}  # fmt: skip
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
_KEYWORDS = _NOTES | _BOUNDS | {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
_OBJECT_KEYWORDS = _NOTES | _DEFINITIONS | {"type", "properties", "required", "additionalProperties", "$ref"}
_OF_ARRAYS_AND_OBJECTS = frozenset(
    {"items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems", "properties", "required",
     "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties"}
)  # fmt: skip
_OF_TEXTS = frozenset({"pattern", "contentEncoding", "contentMediaType"})
_MAX_STEPS = 2000
_MAX_DEPTH = 64
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


def read_format(given: Any, field: str, possible: Mapping[str, Sequence[Any]]) -> AnswerFormat | None:
    """The format that a request asks for, in the field of this name; None for text.

    `possible`: values that fields of an answer here can have, where they are others than anywhere. Raises Problem for
    a format that cannot be honoured.
    """
    if given is None:
        return None
    if not isinstance(given, dict):
        words = f'{field}: it must be an object, such as {{"type": "json_object"}}'
        raise Problem("invalid", words, param=field)
    kind = given.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return AnswerFormat(OBJECT_FIELDS)
    if kind != "json_schema":
        what = "missing" if kind is None else f"{str(kind)[:50]!r} cannot be honoured"
        words = f"{field}.type: {what}; it is text, json_object or json_schema"
        raise Problem("invalid", words, param=f"{field}.type")
    # Chat completions have the schema one level deeper than responses.
    nested = given.get("json_schema")
    place = f"{field}.json_schema.schema" if nested is not None else f"{field}.schema"
    schema = nested.get("schema") if isinstance(nested, dict) else given.get("schema")
    return _Schema(schema, place, possible).format()


class _Schema:
    """A client's schema. It says of every field whether each value that the answer may have fits."""

    def __init__(self, root: Any, place: str, possible: Mapping[str, Sequence[Any]]) -> None:
        self._root = root
        self._place = place
        self._values = {**FIELDS, **possible}
        self._steps = 0

    def format(self) -> AnswerFormat:
        """The fields of the answer. Raises Problem."""
        schema = self._root
        while isinstance(schema, dict) and "$ref" in schema:
            if beside := sorted(schema.keys() - _NOTES - _DEFINITIONS - {"$ref"}):
                raise self._refuse(f"{beside[0][:50]} cannot be honoured beside $ref")
            schema = self._target(schema["$ref"])
        types = schema.get("type") if isinstance(schema, dict) else None
        if not isinstance(schema, dict) or "object" not in (types if isinstance(types, list) else [types]):
            raise self._refuse("it must be the schema of an object")
        if unknown := _unknown(schema, _OBJECT_KEYWORDS):
            raise self._refuse(f"{unknown[:50]} cannot be honoured")
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
                text = isinstance(value, str) and name in ("explanation", "remark")
                raise self._refuse(f"{name} must allow {'a text of any length' if text else json.dumps(value)}")
        return True

    def _fits(self, schema: Any, value: Any, depth: int = 0) -> bool:
        self._count()
        if depth > _MAX_DEPTH:
            raise self._refuse("it is too complicated")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise self._refuse("a schema must be an object")
        if "$ref" in schema and not self._fits(self._target(schema["$ref"]), value, depth + 1):
            return False
        if unknown := _unknown(schema, _KEYWORDS | _without_effect(value)):
            if value is None and "type" in schema and not _has_type(schema["type"], value):
                return False  # whatever else it asks of a value that is not ours
            raise self._refuse(f"{unknown[:50]} cannot be honoured")
        for choice in ("anyOf", "oneOf", "allOf"):
            branches = schema.get(choice)
            if branches is not None:
                if not isinstance(branches, list):
                    raise self._refuse(f"{choice} must be a list")
                matching = sum(self._fits(branch, value, depth + 1) for branch in branches)
                wanted = {"anyOf": matching > 0, "oneOf": matching == 1, "allOf": matching == len(branches)}
                if not wanted[choice]:
                    return False
        if not isinstance(schema.get("enum", []), list):
            raise self._refuse("enum must be a list")
        return (
            _has_type(schema.get("type"), value)
            and ("enum" not in schema or any(_equal(one, value) for one in schema["enum"]))
            and ("const" not in schema or _equal(schema["const"], value))
            and self._is_within(schema, value)
        )

    def _is_within(self, schema: Mapping[str, Any], value: Any) -> bool:
        """Whether a number or a text is within the bounds of a schema."""
        bounds = {name: schema[name] for name in sorted(_BOUNDS & schema.keys())}
        for name, bound in bounds.items():
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise self._refuse(f"{name} must be a number")
        if isinstance(value, str):
            return bool(bounds.get("minLength", 0) <= len(value) <= bounds.get("maxLength", float("inf")))
        if not isinstance(value, int | float):
            return True
        return bool(
            bounds.get("minimum", value) <= value <= bounds.get("maximum", value)
            and ("exclusiveMinimum" not in bounds or bounds["exclusiveMinimum"] < value)
            and ("exclusiveMaximum" not in bounds or value < bounds["exclusiveMaximum"])
        )

    def _target(self, reference: Any) -> Any:
        """What a reference leads to."""
        self._count()
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise self._refuse("only references within the schema can be honoured")
        schema = self._root
        for part in filter(None, unquote(reference.removeprefix("#")).split("/")):
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(schema, list):
                schema = schema[int(name)] if name.isdecimal() and int(name) < len(schema) else None
            else:
                schema = schema.get(name) if isinstance(schema, dict) else None
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


def _unknown(schema: Mapping[str, Any], known: Set[str]) -> str | None:
    """The first keyword that is not known; those that begin with x- are notes."""
    return next((name for name in sorted(schema.keys() - known) if not name.startswith("x-")), None)


def _without_effect(value: Any) -> Set[str]:
    """Keywords that say nothing of such a value."""
    if value is None:
        return _OF_ARRAYS_AND_OBJECTS | _OF_TEXTS | {"multipleOf"}
    return _OF_ARRAYS_AND_OBJECTS | ({"multipleOf"} if isinstance(value, str) else _OF_TEXTS)


def _equal(one: Any, other: Any) -> bool:
    """Whether they are the same JSON: false is not 0."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _has_type(given: Any, value: Any) -> bool:
    if given is None:
        return True
    names = given if isinstance(given, list) else [given]
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES.get(name, ())) for name in names if isinstance(name, str))
