"""Reads the images and the options out of a request's body."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fakescan.engine.judging_options import Explain
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.problem import Problem
from fakescan.settings.yaml_file import first_mistake

RAW_TYPES = ("image/", "application/octet-stream")
_MAX_FIELDS = 16
_MAX_FIELD_BYTES = 1024
_MAX_NAME = 200


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
    fields = dict(request.query_params)
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media == "multipart/form-data":
        uploads, form_fields = await _read_form(request, max_images)
        fields |= form_fields
    elif media.startswith(RAW_TYPES):
        uploads = [Upload(0, None, await request.body())]
    else:
        raise Problem(
            "unsupported_media",
            f"Content-Type {media[:100] or 'is missing'}: send multipart/form-data with files, or the bytes of one "
            "image as image/* or application/octet-stream",
        )
    try:
        options = DetectOptions.model_validate(fields)
    except ValidationError as error:
        raise Problem("invalid", first_mistake(error, command=None, noun="option")[:300]) from None
    if "text/event-stream" in request.headers.get("accept", ""):
        options.stream = True
    return DetectRequest(uploads, options)


async def _read_form(request: Request, max_images: int) -> tuple[list[Upload], dict[str, str]]:
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=max_images,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    uploads: list[Upload] = []
    fields: dict[str, str] = {}
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise Problem("invalid", f"more than {max_images} images in one request; send fewer") from None
        raise Problem("invalid", f"the multipart body cannot be read: {error.message[:200]}") from None
    except (KeyError, ValueError, UnicodeError) as error:  # headers of a part that are broken
        raise Problem("invalid", f"the multipart body cannot be read: {type(error).__name__}") from None
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                uploads.append(Upload(len(uploads), _shown(value.filename), await value.read()))
            else:
                fields[name] = value
    finally:
        await form.close()
    if not uploads:
        raise Problem("invalid", "the form has no file; send at least one part with a file name")
    return uploads, fields


def _shown(name: str | None) -> str | None:
    """A file name as it can be sent back: forms can contain bytes that are not characters."""
    decodable = (name or "")[:_MAX_NAME].encode(errors="replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in decodable) or None
