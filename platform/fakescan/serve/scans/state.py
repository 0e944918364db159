"""Requests and responses of /v1/scans: a request, the state of a scan, and why a request is refused."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fakescan.engine.judging_options import Explain
from fakevlm.reading import Meaning

Status = Literal["pending", "running", "succeeded", "failed", "stopped"]
Refusal = Literal["invalid", "forbidden", "not_found", "overloaded", "unavailable"]


@dataclass(frozen=True)
class Client:
    """Who asks about scans."""

    name: str = "-"
    """Name of the key; `-` without keys."""
    key_id: str = ""
    """Id of the key, to which a scan belongs; empty without keys."""
    address: str = "-"
    """Where the request came from."""
    request_id: str = ""
    """Id of the request, as the log has it."""


class ScanRefusedError(Exception):
    """A request about scans is refused. `code` is a problem's; the message is one line for people."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code: Refusal = code


class ScanRequest(BaseModel):
    """The body of POST /v1/scans."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1, max_length=2048)]
    """Folder, URL prefix, or tar or Parquet file to scan; it must be below a prefix that the server allows."""
    explain: Explain = "fakes"
    """Which images get an explanation: fakes, all or none."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Score from which an image counts as fake. Default: the server's."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Only the first N images."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """Only N images drawn at random."""
    globs: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=32)] = ()
    """Only objects whose name below the source matches one of these patterns."""

    @field_validator("globs")
    @classmethod
    def _one_line_each(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if not glob.isprintable():
                raise ValueError(f"{glob!r} holds a character that cannot be printed")
        return globs

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit and sample exclude each other; give one of them")
        return self


class ScanCounts(BaseModel):
    """Rows by what became of them."""

    model_config = ConfigDict(frozen=True)

    real: int = 0
    fake: int = 0
    uncertain: int = 0
    errors: int = 0


class ScanState(BaseModel):
    """The state of one scan."""

    model_config = ConfigDict(frozen=True)

    id: str
    """`scan-YYYYMMDD-xxxxxx`; the submission id of its Ray job as well."""
    status: Status
    source: str
    output: str
    """Folder of the run."""
    results: str
    """Pattern of the Parquet files with the results."""
    started_by: str = "-"
    """Name of the key that started it; `-` without keys."""
    created_at: datetime
    ended_at: datetime | None = None
    rows: int | None = None
    """Images of the scan; null until the source is listed."""
    rows_done: int = 0
    """Images whose results exist in the folder."""
    counts: ScanCounts = ScanCounts()
    """Verdicts among `rows_done`. Very large scans are counted over several requests: the sum may lag behind."""
    meaning: Meaning | None = None
    """What the verdicts are worth: `real` of a model that knows no generator (`forgeries`) says that no forgery was
    found. Null until the run has begun."""
    notice: str | None = None
    """What whoever reads the verdicts must know; null for nothing in particular."""
    message: str | None = None
    """Why a scan failed, in one line."""
