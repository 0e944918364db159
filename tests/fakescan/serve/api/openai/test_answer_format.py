"""JSON answers: which schemas are honoured, and what is said of the others."""

import json
from enum import StrEnum
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from fakescan.serve.api.openai.answer_format import OBJECT_FIELDS, read_format
from fakescan.serve.problem import Problem

pytestmark = pytest.mark.unit

POSSIBLE: dict[str, list[Any]] = {
    "verdict": ["real", "fake"],
    "threshold": [0.5],
    "explanation": ["This is a", "Words. " * 300],
}
VALUES = {
    "verdict": "fake", "finding": "fake", "score": 0.93, "threshold": 0.5, "remark": None,
    "explanation": 'This is a fake image. "Odd" — 😀', "sha256": "00",
}  # fmt: skip


class Word(StrEnum):
    REAL = "real"
    FAKE = "fake"


class Plain(BaseModel):
    verdict: str
    score: float
    explanation: str


class Bounded(BaseModel):
    explanation: str | None = Field(description="Why.", min_length=1)
    score: float = Field(ge=0, le=1)
    verdict: Word


class Choice(BaseModel):
    verdict: Literal["real", "fake", "uncertain"] = "real"
    reason: str | None
    boxes: list[int] | None = None
    note: str = "x"


def chat_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "Answer", "strict": True, "schema": schema}}


@pytest.mark.parametrize("model", [Plain, Bounded, Choice])
@pytest.mark.parametrize("is_strict", [False, True])
def test_an_answer_fits_the_schema_that_was_asked_for(model: type[BaseModel], is_strict: bool) -> None:
    schema = {**model.model_json_schema(), **({"additionalProperties": False} if is_strict else {})}
    for given in (chat_format(schema), {"type": "json_schema", "name": "Answer", "schema": schema}):
        answer_format = read_format(given, "response_format", POSSIBLE)
        assert answer_format is not None
        text = answer_format.text(VALUES)
        jsonschema.validate(json.loads(text), schema)
        assert model.model_validate_json(text)


def test_the_order_of_the_fields_is_the_schemas() -> None:
    answer_format = read_format(chat_format(Bounded.model_json_schema()), "response_format", POSSIBLE)
    assert answer_format is not None
    assert list(json.loads(answer_format.text(VALUES))) == ["explanation", "score", "verdict"]


def test_an_object_has_all_fields_and_text_is_no_object() -> None:
    answer_format = read_format({"type": "json_object"}, "response_format", POSSIBLE)
    assert answer_format is not None
    assert tuple(json.loads(answer_format.text(VALUES))) == OBJECT_FIELDS
    assert read_format({"type": "text"}, "response_format", POSSIBLE) is None
    assert read_format(None, "response_format", POSSIBLE) is None
    anything = read_format(chat_format({"type": "object"}), "response_format", POSSIBLE)
    assert anything == answer_format


def properties(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas, "required": list(schemas)}


BOMB = {
    **properties(verdict={"$ref": "#/$defs/a0"}),
    "$defs": {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {"type": "null"}},
}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (chat_format(properties(confidence={"type": "number"})), "the answer has no 'confidence', it has verdict"),
        (chat_format({"type": "object", "required": ["x"]}), "the answer has no 'x'"),
        (chat_format(properties(verdict={"enum": ["real"]})), 'verdict must allow "fake"'),
        (chat_format(properties(verdict={"type": "boolean"})), 'verdict must allow "real"'),
        (chat_format(properties(verdict={"const": "fake"})), 'verdict must allow "real"'),
        (chat_format(properties(score={"type": "integer"})), "score must allow 0.0"),
        (chat_format(properties(score={"type": "number", "maximum": 0.5})), "score must allow 0.5137"),
        (chat_format(properties(explanation={"type": "string", "maxLength": 80})), "a text of any length"),
        (chat_format(properties(explanation={"type": "string", "pattern": "(a+)+$"})), "pattern cannot be honoured"),
        (chat_format({"type": "array"}), "the schema of an object"),
        (chat_format("x"), "the schema of an object"),
        (chat_format({**properties(), "patternProperties": {}}), "patternProperties cannot be honoured"),
        (chat_format({"$ref": "http://127.0.0.1/x"}), "references within the schema"),
        (chat_format({"$ref": "#"}), "too complicated"),
        (chat_format({"$ref": "#/$defs/x"}), "leads nowhere"),
        (chat_format(properties(verdict={"$ref": "#/properties/verdict"})), "too complicated"),
        (chat_format(BOMB), "too complicated"),
        ({"type": "json_schema"}, "the schema of an object"),
        ({"type": "json_schema", "json_schema": None}, "the schema of an object"),
        ({"type": "grammar"}, "'grammar' cannot be honoured"),
        ({}, "it is text, json_object or json_schema"),
        ({"type": 7}, "it is text, json_object or json_schema"),
        ("json_object", 'it must be an object, such as {"type": "json_object"}'),
        (["json_object"], "it must be an object"),
        (chat_format(properties(score={"enum": [0, 0.25, 0.5, 0.75, 1]})), "score must allow 0.0137"),
        (chat_format(properties(score={"anyOf": [{"maximum": 0.3}, {"minimum": 0.5}]})), "score must allow 0.3"),
        (chat_format(properties(score={"type": "number", "multipleOf": 0.01})), "multipleOf cannot be honoured"),
        (chat_format(properties(threshold={"enum": [0.25, 0.75]})), "threshold must allow 0.5"),
        (chat_format(properties(explanation={"type": "string", "minLength": 200})), "a text of any length"),
        (chat_format(properties(remark={"type": ["string", "null"], "maxLength": 100})), "a text of any length"),
        (chat_format(properties(remark={"type": ["string", "null"], "minLength": 10})), "a text of any length"),
        (chat_format(properties(remark={"type": "string"})), "remark must allow null"),
        (chat_format(properties(explanation={"type": "string", "minLength": "5"})), "minLength must be a number"),
        (chat_format(properties(score={"type": "number", "minimum": False})), "minimum must be a number"),
        (chat_format(properties(verdict={"enum": "fake"})), "enum must be a list"),
        (chat_format(properties(score={"enum": [False, True]})), "score must allow 0.0"),
        (
            chat_format({**properties(verdict={"$ref": "#/$defs/A", "enum": ["fake"]}), "$defs": {"A": {}}}),
            'verdict must allow "real"',
        ),
        (chat_format({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}, "properties": {}}), "beside $ref"),
    ],
)
def test_a_schema_that_no_answer_can_fill_is_refused_in_words(given: Any, words: str) -> None:
    with pytest.raises(Problem) as problem:
        read_format(given, "response_format", POSSIBLE)
    assert words in problem.value.detail
    assert problem.value.param is not None
    assert problem.value.param.startswith("response_format")


NULLABLE = properties(
    boxes={"type": ["array", "null"], "items": {"type": "integer"}, "minItems": 1},
    region={"type": ["object", "null"], "properties": {}, "required": [], "additionalProperties": False},
    label={"type": ["string", "null"], "pattern": "^a+$"},
    share={"type": ["number", "null"], "multipleOf": 0.01, "minimum": 3},
    verdict={"type": "string", "items": False, "multipleOf": 7, "deprecated": True, "example": "fake", "x-order": 1},
    score={"$ref": "#/$defs/A%5Bb%5D/anyOf/1"},
    threshold={"enum": [0.5, 0.75]},
    explanation={"type": ["string"], "minLength": 9},
)


def test_what_the_answer_fills_is_honoured_however_it_is_written() -> None:
    definitions = {"$defs": {"A[b]": {"anyOf": [{"type": "null"}, {"type": "number", "pattern": "x"}]}}}
    for kind in ("object", ["object"], ["null", "object"]):
        schema = {**NULLABLE, **definitions, "type": kind, "x-name": "a"}
        answer_format = read_format(chat_format(schema), "response_format", POSSIBLE)
        assert answer_format is not None
        jsonschema.validate(json.loads(answer_format.text(VALUES)), schema)


def test_a_schema_must_allow_uncertain_only_where_it_can_be_said() -> None:
    schema = chat_format(properties(verdict={"enum": ["real", "fake"]}))
    assert read_format(schema, "response_format", POSSIBLE)
    with pytest.raises(Problem, match="uncertain"):
        read_format(schema, "response_format", {"verdict": ["real", "fake", "uncertain"]})
