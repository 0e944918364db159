"""Reads the images and the options out of a request's body."""

from collections.abc import AsyncGenerator, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fakescan.engine.judging_options import Explain
from fakescan.serve.api.parsing import parse
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.problem import Problem, no_upload
from fakescan.settings.yaml_file import first_mistake

RAW_TYPES = ("image/", "application/octet-stream")
_MAX_FIELDS = 16
_MAX_FIELD_BYTES = 1024
_MAX_NAME = 200
_MAX_CHANCES = 1000
"""Times that a form's boundary may come beside those between its parts, as by chance in an image."""
_PIECE = 2**20


class DetectOptions(BaseModel):
    """Options of a request, in the query or in the form."""

    model_config = ConfigDict(extra="forbid")

    explain: Explain = "fakes"
    """Which images get an explanation: fakes, all or none."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Score from which an image counts as fake. Default: the server's."""
    stream: bool = False
    """Send the verdict first and the explanation as it is written (server-sent events)."""


@dataclass
class DetectRequest:
    """The images and options of one request."""

    uploads: list[Upload] = field(default_factory=list)
    options: DetectOptions = field(default_factory=DetectOptions)


class _InMemory(MultiPartParser):
    # Starlette writes files above a megabyte to disk; uploads must never be there, and bodies are bounded before.
    spool_max_size = 2**40


async def read_request(request: Request, max_images: int) -> DetectRequest:
    """The images and options of POST /v1/detect. Raises Problem for anything else."""
    fields = _once(request.query_params.multi_items())
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == "multipart/form-data":
        uploads, form_fields = await parse(partial(_read_form, request.headers, max_images), await request.body())
        fields = _once([*fields.items(), *form_fields])
    elif media.startswith(RAW_TYPES):
        uploads = [Upload(0, None, await request.body())]
    else:
        raise no_upload(media)
    try:
        options = DetectOptions.model_validate(fields)
    except ValidationError as error:
        words = first_mistake(error, command=None, noun="option")[:300]
        place = error.errors(include_input=False)[0]["loc"]  # empty for a name that is no text
        raise Problem("invalid", words, param=str(place[0])[:100] if place else None) from None
    if "stream" not in options.model_fields_set:
        options.stream = _prefers_events(request.headers.get("accept", ""))
    return DetectRequest(uploads, options)


def _once(options: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Options by their names. Raises Problem for one that is given twice, in the query, the form or both."""
    found: dict[str, str] = {}
    for name, value in options:
        if name in found:
            raise Problem("invalid", f"{name[:100]}: given more than once", param=name[:100])
        found[name] = value
    return found


def _prefers_events(accept: str) -> bool:
    """Whether a client that says what it accepts wants events rather than JSON, which it gets if it minds neither."""
    weights = {"application/json": 0.0, "text/event-stream": 0.0}
    for one in accept.lower().split(","):
        media, *parameters = (part.strip() for part in one.split(";"))
        if media in weights:
            given = next((name.removeprefix("q=") for name in parameters if name.startswith("q=")), "1")
            try:
                weights[media] = float(given)
            except ValueError:
                continue  # no number: nothing is said of it
    return weights["text/event-stream"] > max(weights["application/json"], 0.0)


def _read_form(headers: Headers, max_images: int, body: bytes) -> tuple[list[Upload], list[tuple[str, str]]]:
    body = body.lstrip(b"\r\n")  # which the parser skips one by one
    parser = _InMemory(
        headers, _pieces(body), max_files=max_images, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
    )
    uploads: list[Upload] = []
    fields: list[tuple[str, str]] = []
    try:
        _check_boundary(headers, max_images, body)
        form = _finish(parser.parse())
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise Problem("invalid", f"more than {max_images} images in one request; send fewer") from None
        if "Part exceeded" in error.message:
            words = f"a part of over {_MAX_FIELD_BYTES} bytes has no file name; images need one (curl: -F file=@a.jpg)"
            raise Problem("invalid", words) from None
        raise Problem("invalid", f"the multipart body cannot be read: {error.message[:200]}") from None
    except (KeyError, ValueError, UnicodeError) as error:  # headers of a part that are broken
        raise Problem("invalid", f"the multipart body cannot be read: {type(error).__name__}") from None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            with value.file as file:  # closed, so that no image is in memory twice for longer than a moment
                uploads.append(Upload(len(uploads), _shown(value.filename), file.read()))
        else:
            fields.append((name, value))
    if not uploads:
        boundary = parse_options_header(headers["content-type"])[1].get(b"boundary", b"")
        if b"--" + boundary in body and b"--" + boundary + b"--" not in body:
            raise Problem("invalid", "the form is cut off: the boundary that ends it is missing")
        raise Problem("invalid", "the form has no file; send at least one part with a file name")
    return uploads, fields


def _check_boundary(headers: Headers, max_images: int, body: bytes) -> None:
    """Refuses a form whose boundary comes too often: the parser looks at each, and takes its time."""
    boundary = parse_options_header(headers["content-type"])[1].get(b"boundary")
    if boundary and body.count(b"--" + boundary) > max_images + _MAX_FIELDS + _MAX_CHANCES:
        raise Problem("invalid", "the form's boundary comes too often in it; choose a longer one")


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    """The body piece by piece, so that the parser has no second copy of all of it."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def _finish(parsing: Coroutine[Any, Any, FormData]) -> FormData:
    """What a coroutine returns that waits for nothing, as the parser of what is in memory."""
    try:
        parsing.send(None)
    except StopIteration as done:
        form: FormData = done.value
        return form
    parsing.close()
    raise RuntimeError("the parser waits for something")


def _shown(name: str | None) -> str | None:
    """A file name as it can be sent back: forms can contain bytes that are not characters."""
    decodable = (name or "")[:_MAX_NAME].encode(errors="replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in decodable) or None
