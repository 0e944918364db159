"""The OpenAPI document: what FastAPI knows of the routes, with bodies, problems, keys and examples."""

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from fakescan.serve.api.openai.chat import ChatRequest
from fakescan.serve.api.openai.responses import ResponsesRequest
from fakescan.serve.api.uploads import DetectOptions
from fakescan.serve.config import Limits
from fakescan.serve.problem import MEDIA_TYPE, STATUS, Problem
from fakescan.serve.scans.state import ScanRequest

Schema = dict[str, Any]

PUBLIC = frozenset({"/healthz", "/readyz", "/v1/about"})
"""Documented paths that need no key."""
_REFERENCE = "#/components/schemas/{model}"
_OWN = {
    "/healthz": ("get_health", "Whether the proxy is alive.", "application/json", {"type": "object"}),
    "/metrics": ("get_metrics", "Metrics of the proxy, in Prometheus' format.", "text/plain", {"type": "string"}),
}
"""What the gate answers itself, beside the page: no replica has a route for it."""
_DETECT = "/v1/detect"
_NAMED_MODEL = frozenset({"/v1/chat/completions", "/v1/responses"})
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
# Of no type: for some tools it is that of the whole stream, for others that of one event.
_EVENTS: Schema = {"title": "Events", "description": "Server-sent events, where the request asks for a stream."}
_DETAILS = {
    401: "send an API key as `Authorization: Bearer KEY`",
    403: "the key alice does not have the scope scans",
    404: "model: 'gpt-4o' is not served here; 'builtin-small' is",
    408: "the body did not arrive within 30 s",
    413: "the body is larger than 67108864 bytes; send fewer or smaller images",
    415: "send the body as application/json",
    422: "messages: 0 images; send exactly one, as an image_url with a data: URI",
    429: "rate limit of the key alice reached; retry in 2 s",
    500: "an error of the server; its log has the cause under the request id",
    503: "64 requests are in flight already; try again later",
}
_EXAMPLE_CODES = {
    401: "unauthorized", 403: "forbidden", 404: "not_found", 408: "upload_timeout", 413: "too_large",
    415: "unsupported_media", 422: "invalid", 429: "rate_limited", 500: "internal", 503: "overloaded",
}  # fmt: skip


class OpenAIError(BaseModel):
    """The problem again, where OpenAI's clients look for it."""

    message: str
    type: str
    code: str | None
    param: str | None
    """The field of the request that is wrong."""


class ProblemBody(BaseModel):
    """The body of every refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    error: OpenAIError


class About(BaseModel):
    """Model, limits and formats of the server."""

    model_config = ConfigDict(extra="allow")

    name: str
    version: str
    auth: bool
    """Whether requests need a key."""
    model: str
    notice: str | None
    """What whoever reads the verdicts must know."""
    threshold: float
    max_images: int
    """In one request."""
    max_body_bytes: int
    max_pixels: int
    formats: list[str]
    provenance: bool
    """Whether answers say what files say of their own origin."""
    trust_list: dict[str, str] | None
    """Date and hash of the list that signers are checked against; null where they are not checked."""
    scans: bool
    """Whether clients may start scans."""


class ServedModel(BaseModel):
    """The checkpoint, as OpenAI's clients know models."""

    id: str
    object: Literal["model"]
    created: int
    """When this replica started, in seconds since 1970."""
    owned_by: str
    fakescan: dict[str, Any]
    """Hash of the weights, calibration, prompt, size of the model's image."""


class ModelList(BaseModel):
    """The one checkpoint that judges here."""

    object: Literal["list"]
    data: list[ServedModel]


def detect_operation(limits: Limits) -> Schema:
    """What FastAPI cannot know of POST /v1/detect."""
    file = {"type": "string", "format": "binary"}
    options = _option_schemas()
    form = {
        "type": "object",
        "properties": {
            "file": {"type": "array", "items": file, "minItems": 1, "maxItems": limits.max_images},
            **options,
        },
        "required": ["file"],
        "additionalProperties": False,
    }
    content = {
        "multipart/form-data": {"schema": form},
        "application/octet-stream": {"schema": file},  # and image/*, which not every generator knows
    }
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in options.items()]
    events = {
        "schema": _EVENTS,
        "example": 'event: verdict\ndata: {"index": 0, "verdict": "fake", "score": 0.989}\n\nevent: done\ndata: {}\n\n',
    }
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": parameters,
        "responses": {"200": {"content": {"text/event-stream": events}}},
    }


def json_operation(model: type[BaseModel]) -> Schema:
    """What FastAPI cannot know of an operation whose body is this model in JSON."""
    body: Schema = {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}
    operation: Schema = {"requestBody": {"required": True, "content": {"application/json": body}}}
    if model in (ChatRequest, ResponsesRequest):
        events = {"schema": _EVENTS, "example": 'data: {"choices": []}\n\ndata: [DONE]\n\n'}
        operation["responses"] = {"200": {"content": {"text/event-stream": events}}}
    return operation


def document_api(app: FastAPI, *, needs_key: bool, model: str) -> None:
    """Completes the document of an application whose routes are all there."""
    document = app.openapi()
    document["paths"] |= {path: {"get": _own_operation(*facts)} for path, facts in _OWN.items()}
    schemas: Schema = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own; ours are problems
        schemas.pop(unused, None)
    bodies: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (ChatRequest, "validation"),
        (ResponsesRequest, "validation"),
        (ProblemBody, "serialization"),
    ]
    if "/v1/scans" in document["paths"]:
        bodies.append((ScanRequest, "validation"))
    schemas |= models_json_schema(bodies, ref_template=_REFERENCE)[1]["$defs"]
    document["info"]["description"] = "Every refusal is a problem (RFC 9457). 429 and 503 may be sent again."
    document["components"]["headers"] = {
        "RequestId": {"description": "The request's id, also in the server's log.", "schema": {"type": "string"}},
        "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
        "Challenge": {"description": "How to send the key.", "schema": {"type": "string"}},
    }
    statuses = sorted(_DETAILS)
    document["components"]["responses"] = {f"Problem{status}": _problem_response(status) for status in statuses}
    if needs_key:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `fakescan keys add`."},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        document["security"] = [{"bearer": []}, {"header": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, path, method, needs_key)
    for path, example in _request_examples(model).items():
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"] = example
    app.openapi_schema = document


def _own_operation(name: str, description: str, media_type: str, schema: Schema) -> Schema:
    summary = name.replace("_", " ").title()
    responses = {"200": {"content": {media_type: {"schema": schema}}}}
    return {"summary": summary, "description": description, "operationId": name, "responses": responses}


def _complete(operation: Schema, path: str, method: str, needs_key: bool) -> None:
    """Adds to an operation its problems, headers and whether it needs a key."""
    if needs_key and path in PUBLIC:
        operation["security"] = []
    responses = operation["responses"]
    for status, response in list(responses.items()):
        if not status.startswith("2"):
            del responses[status]
            continue
        response["description"] = "Done"
        response["headers"] = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    for status in _problems(path, method, needs_key and path not in PUBLIC):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}


def _problems(path: str, method: str, is_locked: bool) -> list[int]:
    statuses = {429, 500, 503}
    if is_locked:
        statuses |= {401, 403}
    if method == "post":
        statuses |= {403, 408, 413, 415, 422} if path.startswith("/v1/scans") else {408, 413, 415, 422}
    if "{" in path or path in _NAMED_MODEL:
        statuses.add(404)
    return sorted(statuses)


def _problem_response(status: int) -> Schema:
    codes = ", ".join(code for code, its_status in STATUS.items() if its_status == status)
    headers = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    example = Problem(_EXAMPLE_CODES[status], _DETAILS[status]).content("2f1c8a90b7d34e56")
    body = {"schema": {"$ref": _REFERENCE.format(model=ProblemBody.__name__)}, "example": example}
    return {"description": f"`code`: {codes}", "headers": headers, "content": {MEDIA_TYPE: body}}


def _request_examples(model: str) -> dict[str, Schema]:
    question = {"type": "text", "text": "Is this image real?"}
    return {
        "/v1/chat/completions": {
            "model": model,
            "messages": [{"role": "user", "content": [question, {"type": "image_url", "image_url": {"url": _PIXEL}}]}],
        },
        "/v1/responses": {
            "model": model,
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": _PIXEL}]}],
        },
    }


def _option_schemas() -> Schema:
    """The options of POST /v1/detect; null is for JSON alone."""
    schemas = DetectOptions.model_json_schema()["properties"]
    for schema in schemas.values():
        if branches := schema.pop("anyOf", None):
            (branch,) = [branch for branch in branches if branch.get("type") != "null"]
            schema |= branch
            schema.pop("default", None)
    return dict(schemas)
