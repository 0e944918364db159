"""The JSON that people send: everything that was measured, and nothing that says where or by whom."""

import getpass
import json
import re
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_bench.figures import Differences
from benchmarks.gpu_bench.gpu_watch import Gpu, Use
from benchmarks.gpu_bench.rows import Row
from benchmarks.report import ROOT

SCHEMA = 1
"""Raised when a reader of the earlier ones would misread a file."""
_REST = r"[^\s'\":,;()\[\]<>]*"
_PATH = re.compile(rf"(?<![\w/.:])(?:~|\.{{1,2}})?/(?=[^\s/]){_REST}")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_PID = re.compile(r"\bpid=\d+\b")


@dataclass(frozen=True)
class Comparison:
    """Scores of one engine against another's."""

    of: str
    base: str
    simulated: bool
    differences: Differences | None = None
    error: str | None = None


@dataclass(frozen=True)
class Roofline:
    """What shares of the peak are made of."""

    tflop_per_image: float
    """What they are computed with."""
    tflop_counted: float
    """The same, counted layer by layer."""
    gflop_per_token: float
    """Of an explanation's."""
    peak_tflops: float | None
    """Dense, in 16 bits; None for a GPU that is not in the table."""
    peak_tflops_fp8: float | None
    source: str


@dataclass(frozen=True)
class Document:
    """All of it."""

    device: str
    options: dict[str, Any]
    started: str
    machine: dict[str, Any]
    model: dict[str, Any]
    images: dict[str, Any]
    gpu: Gpu | None
    roofline: Roofline | None
    before: Use | None
    """The GPU before anything of the bench ran: what others do with it."""
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    notes: Sequence[str]
    seconds: float

    @property
    def is_simulated(self) -> bool:
        """Whether no figure says anything of any device."""
        return self.device == "simulated"

    @property
    def has_figures(self) -> bool:
        """Whether anything was measured."""
        return any(row.images_s is not None for row in self.rows) or any(
            comparison.differences is not None for comparison in self.comparisons
        )


def to_json(document: Document) -> str:
    """The file's text. Simulated figures have names of their own, so that no reader takes them for measured ones."""
    content = asdict(document)
    prefix = "simulated_" if document.is_simulated else ""
    rows, comparisons = content.pop("rows"), content.pop("comparisons")
    whole = {
        "schema": SCHEMA,
        "program": "fakescan gpu bench",
        "simulated": document.is_simulated,
        **content,
        f"{prefix}rows": rows,
        f"{prefix}comparisons": comparisons,
    }
    return json.dumps(_clean(whole), indent=1, allow_nan=False) + "\n"


def clean(text: str) -> str:
    """Free text, such as an error's, without paths, addresses, and names of hosts and users."""
    for secret in (str(ROOT), str(Path.home()), tempfile.gettempdir()):
        if len(secret) > 1:
            text = re.sub(rf"{re.escape(secret)}{_REST}", "PATH", text)
    text = _PATH.sub("PATH", text)
    text = _ADDRESS.sub("ADDRESS", text)
    text = _PID.sub("pid=N", text)
    for name in _own_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "NAME", text)
    return text


def _own_names() -> list[str]:
    names = {socket.gethostname(), socket.gethostname().partition(".")[0]}
    with suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    return sorted((name for name in names if len(name) > 1), key=len, reverse=True)


def _clean(value: Any) -> Any:
    """The same without anything of `clean` in its texts, and without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(name): _clean(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return clean(value) if isinstance(value, str) else value
