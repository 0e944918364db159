"""The schema that a custom resource definition holds, as strict as an API server that refuses unknown fields.

As a server does, it first fills in the defaults, then checks, then evaluates the rules in CEL. Rules about a change
(`oldSelf`) hold for an object that is new.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.manifests.build import Loader
from tools.manifests.found import Document, Fault, in_words

Schema = dict[str, Any]

_BOUNDS = {"int32": 2**31, "int64": 2**63}
_OBJECT_META = ("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
"""Of an object's own metadata, what people write; a CRD says nothing about it."""
_DROPPED = ("description", "default", "format", "x-kubernetes-validations")


class CustomResources:
    """The kinds that a folder of custom resource definitions describes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def faults(self, document: Document) -> list[Fault] | None:
        """What is wrong with an object; None where the folder does not know its kind."""
        schema = self._schema(str(document.get("kind")), str(document.get("apiVersion")))
        if schema is None:
            return None
        whole = filled(document, schema)
        found = [in_words(error) for error in _validator(self.folder, document["kind"], document["apiVersion"])(whole)]
        return found or list(_rules(whole, schema, ()))

    def _schema(self, kind: str, version: str) -> Schema | None:
        return _schema(self.folder, kind, version)


@functools.cache
def _definitions(folder: Path) -> dict[tuple[str, str], Path]:
    """Files by the kind that they define, told by their first lines: the whole is megabytes."""
    found = {}
    for file in sorted(folder.glob("*.yaml")):
        group, plural = file.stem.partition("_")[::2]
        found[group, plural] = file
    return found


@functools.cache
def _schema(folder: Path, kind: str, version: str) -> Schema | None:
    group, _, name = version.rpartition("/")
    file = _definitions(folder).get((group, f"{kind.lower()}s"))
    if file is None:
        return None
    definition = yaml.load(file.read_bytes(), Loader)["spec"]
    for candidate in definition["versions"]:
        if candidate["name"] == name and candidate["served"]:
            schema: Schema = candidate["schema"]["openAPIV3Schema"]
            return schema
    return None


@functools.cache
def _validator(folder: Path, kind: str, version: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = _schema(folder, kind, version)
    assert schema is not None
    whole = strict(schema)
    whole["properties"]["metadata"] = _metadata()
    return Draft202012Validator(whole).iter_errors


def _metadata() -> Schema:
    text = {"type": "object", "additionalProperties": {"type": "string"}}
    properties: Schema = {name: {} for name in _OBJECT_META} | {"labels": text, "annotations": text}
    properties |= {"name": {"type": "string"}, "namespace": {"type": "string"}}
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": ["name"]}


def strict(schema: Schema) -> Schema:
    """The same schema for jsonschema: unknown fields refused, quantities and ports numbers or text."""
    result = {key: value for key, value in schema.items() if key not in _DROPPED and not key.startswith("x-kubernetes")}
    if "properties" in schema:
        result["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            result["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        result["items"] = strict(schema["items"])
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("anyOf", None)
        result["type"] = ["integer", "string"]
    bound = _BOUNDS.get(schema.get("format", ""))
    if bound is not None:
        result = {"minimum": -bound, "maximum": bound - 1, **result}
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    return result


def filled(value: Any, schema: Schema) -> Any:
    """A copy with the defaults of fields that are missing."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        inner_schema = schema.get("additionalProperties")
        others = inner_schema if isinstance(inner_schema, dict) else {}
        result = {name: filled(inner, properties.get(name, others)) for name, inner in value.items()}
        for name, inner in properties.items():
            if name not in result and "default" in inner:
                result[name] = filled(inner["default"], inner)
        return result
    if isinstance(value, list):
        return [filled(inner, schema.get("items", {})) for inner in value]
    return value


def _rules(value: Any, schema: Schema, place: tuple[str | int, ...]) -> Iterator[Fault]:
    """The rules in CEL that an object breaks."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield Fault.at(place, rule.get("message", rule["rule"]))
    if isinstance(value, dict):
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name)
            if known is not None:
                yield from _rules(inner, known, (*place, name))
    elif isinstance(value, list) and "items" in schema:
        for number, inner in enumerate(value):
            yield from _rules(inner, schema["items"], (*place, number))


def _holds(rule: str, value: Any) -> bool:
    import cel

    return bool(cel.evaluate(rule, {"self": value}))


def default_folder() -> Path:
    """Where `make crds` puts the definitions."""
    return Path(__file__).resolve().parents[2] / "cluster" / "kuberay" / "crds"
