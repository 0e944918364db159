"""The HTTP application of one replica: routes, their documentation, and errors as problems."""

import asyncio
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from fakescan import tracing
from fakescan.serve.api.detect import Detection, detect, too_slow
from fakescan.serve.api.json_body import read_json
from fakescan.serve.api.openai.chat import ChatCompletion, ChatRequest, chat, read_chat
from fakescan.serve.api.openai.responses import OpenAIResponse, ResponsesRequest, read_responses, respond
from fakescan.serve.api.openai.unsupported import refuse_options
from fakescan.serve.api.openapi import About, ModelList, ServedModel, detect_operation, document_api, json_operation
from fakescan.serve.api.parsing import parse
from fakescan.serve.api.require_gate import Admit, RequireGate, problem_response
from fakescan.serve.api.uploads import read_request
from fakescan.serve.detector import Detector
from fakescan.serve.problem import Problem
from fakescan.serve.scans.jobs import Client, ScanJobs, ScanRefusedError, ScanRequest, ScanState
from fakescan.serve.work import admission
from fakevlm import __version__
from fakevlm.image_file import FORMATS

logger = logging.getLogger("ray.serve.fakescan")

Returned = TypeVar("Returned")

_TRACE_FRAMES, _TRACE_CHARACTERS = 12, 4000


class ScanList(BaseModel):
    """Scans, newest first."""

    scans: list[ScanState]


def make_app(detector: Detector, scans: ScanJobs | None, admit: Admit) -> ASGIApp:
    """The application; every request must have come through the gate."""
    app = FastAPI(
        title="fakescan",
        version=__version__,
        summary="Says of images whether they are real or fake, how sure it is, and why.",
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would repeat the Host header that the client sent
        generate_unique_id_function=lambda route: route.name,
    )
    _add_errors(app)
    _add_judging(app, detector)
    _add_facts(app, detector, scans is not None)
    if scans is not None:
        _add_scans(app, scans)
    document_api(app, needs_key=not detector.config.no_auth, model=detector.model)
    return RequireGate(app, admit)


def _id(request: Request) -> str:
    return str(request.scope["fakescan.request_id"])


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def refused(request: Request, error: Problem) -> Response:
        return problem_response(error, _id(request))

    @app.exception_handler(TimeoutError)
    async def slow(request: Request, error: TimeoutError) -> Response:
        return problem_response(too_slow(request.app.state.timeout_s), _id(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        return problem_response(Problem("invalid", f"{where}: {first['msg']}"), _id(request))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            problem = Problem("not_found", f"there is no {request.url.path[:200]}; see /openapi.json")
        elif error.status_code == 405:
            problem = Problem("method_not_allowed", f"{request.url.path[:200]} does not take {request.method}")
        else:
            problem = Problem("invalid", str(error.detail))
        response = problem_response(problem, _id(request))
        response.headers.update(error.headers or {})  # which methods are allowed
        return response

    @app.exception_handler(ScanRefusedError)
    async def scan_refused(request: Request, error: ScanRefusedError) -> Response:
        return problem_response(Problem(error.code, str(error)), _id(request))

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        logger.error("request %s failed: %s", _id(request), _trace(error))
        return problem_response(
            Problem("internal", "an error of the server; its log has the cause under the request id"), _id(request)
        )


def _trace(error: Exception) -> str:
    """Where an error came from, in a bounded number of lines: whoever has found one can cause it again and again."""
    return "".join(traceback.format_exception(error, limit=-_TRACE_FRAMES, chain=False))[-_TRACE_CHARACTERS:]


def _add_judging(app: FastAPI, detector: Detector) -> None:
    limits = detector.config.limits
    app.state.timeout_s = limits.request_timeout_s

    @app.post("/v1/detect", response_model=Detection, openapi_extra=detect_operation(limits))
    async def detect_images(request: Request) -> Response:
        """Judges the images of a form, or the one image that is the body."""
        with tracing.span("parse"):
            asked = await read_request(request, limits.max_images)
        return await detect(detector, asked, _id(request), admission(detector, request.scope))

    @app.post("/v1/chat/completions", response_model=ChatCompletion, openapi_extra=json_operation(ChatRequest))
    async def create_chat_completion(request: Request) -> Response:
        """Asks about one image, in the format of OpenAI's chat completions."""
        with tracing.span("parse"):
            refuse_options(request.query_params)
            question = await parse(partial(read_chat, detector), await _json_bytes(request))
        return await chat(detector, question, request.scope)

    @app.post("/v1/responses", response_model=OpenAIResponse, openapi_extra=json_operation(ResponsesRequest))
    async def create_response(request: Request) -> Response:
        """Asks about one image, in the format of OpenAI's responses. None is kept."""
        with tracing.span("parse"):
            refuse_options(request.query_params)
            question = await parse(partial(read_responses, detector), await _json_bytes(request))
        return await respond(detector, question, request.scope)


async def _json_bytes(request: Request) -> bytes:
    # Not FastAPI's own parsing: it takes a body of another type, and its errors repeat what was sent.
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Problem("unsupported_media", "send the body as application/json")
    return await request.body()


def _add_facts(app: FastAPI, detector: Detector, has_scans: bool) -> None:
    config, calibration = detector.config, detector.calibration
    about = {
        "name": "fakescan",
        "version": __version__,
        "auth": not config.no_auth,
        "model": detector.model,
        "notice": detector.notice,
        **detector.words.about(),
        "threshold": calibration.threshold,
        "uncertain_low": calibration.uncertain_low,
        "uncertain_high": calibration.uncertain_high,
        "image": {"width": detector.checkpoint.image.width, "height": detector.checkpoint.image.height},
        "max_images": config.limits.max_images,
        "max_body_bytes": config.limits.max_body_bytes,
        "max_pixels": config.limits.max_pixels,
        "formats": list(FORMATS),
        "provenance": config.provenance,
        "trust_list": detector.trust and {"dated": detector.trust.dated, "sha256": detector.trust.sha256},
        "scans": has_scans,
    }
    model = {
        "id": detector.model,
        "object": "model",
        "created": detector.started_at,
        "owned_by": "fakescan",
        "fakescan": {
            "weights_sha256": detector.checkpoint.weights_sha256,
            "notice": detector.notice,
            **detector.words.about(),
            "calibration": calibration.model_dump(mode="json"),
            "prompt": detector.checkpoint.prompt.model_dump(mode="json"),
            "image": {"width": detector.checkpoint.image.width, "height": detector.checkpoint.image.height},
            "engine": config.engine.kind,
        },
    }

    @app.get("/v1/about", response_model=About)
    async def get_about() -> Response:
        """Model, limits and formats of this server; needs no key."""
        return JSONResponse(about)

    @app.get("/v1/models", response_model=ModelList)
    async def list_models() -> Response:
        """The checkpoint that judges here."""
        return JSONResponse({"object": "list", "data": [model]})

    @app.head("/v1/models/{name:path}", include_in_schema=False)
    @app.get("/v1/models/{name:path}", response_model=ServedModel)
    async def get_model(name: str) -> Response:
        """The checkpoint that judges here, by its name."""
        detector.require(name)
        return JSONResponse(model)

    @app.get("/readyz")
    async def get_ready() -> JSONResponse:
        """Whether a replica is ready."""
        return JSONResponse({"status": "ready", "model": detector.model})


def _add_scans(app: FastAPI, scans: ScanJobs) -> None:
    # Threads of their own: a job server that does not answer holds each for a while.
    threads = ThreadPoolExecutor(4, thread_name_prefix="scans")

    async def call(function: Callable[..., Returned], *arguments: Any) -> Returned:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)

    @app.post("/v1/scans", status_code=202, response_model=ScanState, openapi_extra=json_operation(ScanRequest))
    async def start_scan(request: Request) -> Response:
        """Starts a scan below a prefix that the server allows, as a Ray job."""
        scan = await parse(lambda body: read_json(body, ScanRequest), await _json_bytes(request))
        return _scan_response(await call(scans.start, scan, _client(request)), 202)

    @app.get("/v1/scans", response_model=ScanList)
    async def list_scans(request: Request) -> Response:
        """The newest scans that this key has started, newest first."""
        return JSONResponse(ScanList(scans=await call(scans.list, _client(request))).model_dump(mode="json"))

    @app.get("/v1/scans/{scan_id}", response_model=ScanState)
    async def get_scan(request: Request, scan_id: str) -> Response:
        """Progress of a scan, and where its results are."""
        return _scan_response(await call(scans.get, scan_id, _client(request)))

    @app.post("/v1/scans/{scan_id}/stop", status_code=202, response_model=ScanState)
    async def stop_scan(request: Request, scan_id: str) -> Response:
        """Stops a scan; the results so far stay."""
        return _scan_response(await call(scans.stop, scan_id, _client(request)), 202)


def _client(request: Request) -> Client:
    scope = request.scope
    return Client(scope["fakescan.key"], scope["fakescan.key_id"], scope["fakescan.client"], _id(request))


def _scan_response(state: ScanState, status: int = 200) -> JSONResponse:
    return JSONResponse(state.model_dump(mode="json"), status)
