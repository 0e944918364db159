"""The OpenAPI document: valid, whole, and true of what the application does."""

import re
from collections.abc import Iterator
from typing import Any, cast

import jsonschema
import pytest

from fakescan.serve.detector import Detector
from tests.fakescan.serve.api.replica import send

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def document(detector: Detector) -> dict[str, Any]:
    return cast(dict[str, Any], send(detector, "GET", "/openapi.json").json())


@pytest.fixture(scope="module")
def locked(detector: Detector) -> dict[str, Any]:
    """The document of a server with keys."""
    return cast(dict[str, Any], send(detector, "GET", "/openapi.json", has_keys=True).json())


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    found = set(references(document))
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node, reference
    defined = {f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named}
    assert {name for name in defined - found if "securitySchemes" not in name and "Challenge" not in name} <= {
        "#/components/responses/Problem401"
    }


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_operations_have_names_problems_and_keys(document: dict[str, Any], locked: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(locked)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)
    public = {path for path, _, operation in operations(locked) if operation.get("security") == []}
    assert public == {"/healthz", "/readyz", "/v1/about"}
    assert locked["security"] == [{"bearer": []}, {"header": []}]
    assert {"bearer", "header"} == locked["components"]["securitySchemes"].keys()
    assert "security" not in document
    for path, method, operation in operations(locked):
        statuses = operation["responses"].keys()
        assert {"429", "500", "503"} <= statuses, path
        assert ({"401", "403"} <= statuses) == (path not in public), path
        assert ({"408", "413", "415", "422"} <= statuses) == (method == "post"), path
    for problem in locked["components"]["responses"].values():
        assert problem["content"].keys() == {"application/problem+json"}


def test_examples_fit_their_schemas(document: dict[str, Any], detector: Detector) -> None:
    seen = 0

    def check(node: Any) -> None:
        nonlocal seen
        if isinstance(node, dict):
            if "schema" in node and "example" in node:
                seen += 1
                root = {**document, "$ref": "#/x", "x": node["schema"]}
                jsonschema.Draft202012Validator(root).validate(node["example"])
            for value in node.values():
                check(value)
        elif isinstance(node, list):
            for value in node:
                check(value)

    check(document)
    assert seen > 10
    for path in ("/v1/chat/completions", "/v1/responses"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert send(detector, "POST", path, json=example).status_code == 200


def schema_of(document: dict[str, Any], path: str, method: str, status: str, media: str) -> dict[str, Any]:
    response = document["paths"][path][method]["responses"][status]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return {**document, **response["content"][media]["schema"]}


def test_what_is_sent_back_is_what_the_document_says(
    document: dict[str, Any], detector: Detector, png: bytes, uri: str
) -> None:
    image = {"type": "image_url", "image_url": {"url": uri}}
    messages = [{"role": "user", "content": [image]}]
    requests: list[tuple[str, str, str, dict[str, Any]]] = [
        ("get", "/v1/about", "/v1/about", {}),
        ("get", "/v1/models", "/v1/models", {}),
        ("get", "/v1/models/{name}", f"/v1/models/{detector.model}", {}),
        ("get", "/v1/models/{name}", "/v1/models/other", {}),
        ("post", "/v1/detect", "/v1/detect", {"files": [("file", png), ("file", b"no image")]}),
        ("post", "/v1/detect", "/v1/detect", {"content": png, "headers": {"content-type": "image/png"}}),
        ("post", "/v1/detect", "/v1/detect", {"content": png, "headers": {"content-type": "text/plain"}}),
        ("post", "/v1/detect", "/v1/detect", {"files": {"file": png}, "data": {"threshold": "2"}}),
        ("post", "/v1/chat/completions", "/v1/chat/completions",
         {"json": {"model": detector.model, "messages": messages, "logprobs": True, "top_logprobs": 1}}),
        ("post", "/v1/chat/completions", "/v1/chat/completions", {"json": {"model": "other", "messages": messages}}),
        ("post", "/v1/chat/completions", "/v1/chat/completions", {"json": {}}),
        ("post", "/v1/responses", "/v1/responses", {"json": {"model": detector.model, "input": messages}}),
        ("post", "/v1/responses", "/v1/responses", {"content": b"{"}),
    ]  # fmt: skip
    statuses = set()
    for method, path, address, options in requests:
        response = send(detector, method.upper(), address, **options)
        statuses.add(response.status_code)
        media = response.headers["content-type"]
        schema = schema_of(document, path, method, str(response.status_code), media)
        jsonschema.Draft202012Validator(schema).validate(response.json())
    assert statuses == {200, 404, 415, 422}


def test_a_method_that_a_path_does_not_take(detector: Detector) -> None:
    response = send(detector, "DELETE", "/v1/detect")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["code"] == "method_not_allowed"
