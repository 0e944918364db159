"""A server that the page talks to as to `fakescan serve`, whose answers a test scripts: no engine, no Ray.

Run it to look at the page: `python -m tests.page_server`.
"""

import hashlib
import json
import math
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import anyio
import uvicorn
from PIL import Image, ImageOps
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fakescan.serve.gate.own.answers import page_files
from fakescan.serve.problem import Problem
from tests.serve_process import PAIRS, free_port

NOTICE = (
    "The built-in model is small and no detector of generated images: it learnt from forged photographs and knows no "
    "generator. For real verdicts this server needs another checkpoint."
)
UNFOUND = (
    "No forgery found, which does not make the image real: the model knows no generator and does not notice generated "
    "images."
)
RATES = (0.5, 0.1, 0.01, 0.001)
Json = dict[str, Any]


@dataclass
class Scripted:
    """What the server says of a file of this name."""

    score: float
    explanation: str = ""
    leans: str | None = None
    """The model's own word; None: the side of 0.5."""
    off_script: float = 0.0007
    provenance: dict[str, Any] | None = None
    """What the file says of its own origin, as the server says it."""


@dataclass
class PageServer:
    """The server, as a context. Its fields may change while it runs."""

    meaning: str = "full"
    model: str = "lingcco/fakeVLM"
    threshold: float = 0.5
    band: tuple[float, float] | None = None
    key: str | None = None
    script: dict[str, Scripted] = field(default_factory=dict)
    word_s: float = 0.0
    """Seconds between the words of an explanation."""
    detections: int = 0
    """Requests to judge that were answered."""
    url: str = ""

    def about(self) -> Json:
        """The answer of GET /v1/about."""
        low, high = self.band or (None, None)
        return {
            "name": "fakescan", "version": "0.1.0", "auth": self.key is not None, "model": self.model,
            "notice": NOTICE if self.meaning == "forgeries" else None, "meaning": self.meaning, "calibrated": True,
            "base_rate": 0.01, "threshold": self.threshold, "uncertain_low": low, "uncertain_high": high,
            "score_meaning": (
                "The probability that an image is fake, as the calibration has it: for images like its own, where "
                "50 % of all are fake."
            ),
            "image": {"width": 112, "height": 112} if self.meaning == "forgeries" else {"width": 336, "height": 336},
            "max_images": 16, "max_body_bytes": 64 * 2**20, "max_pixels": 50_000_000, "max_request_pixels": 200_000_000,
            "formats": ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"], "scans": False,
            "provenance": True, "trust_list": None,
        }  # fmt: skip

    def result(self, name: str, data: bytes) -> Json:
        """One result of POST /v1/detect. Raises Problem for what is no image."""
        try:
            picture = Image.open(BytesIO(data))
            width, height = ImageOps.exif_transpose(picture).size
        except OSError:
            raise Problem("not_an_image", "cannot identify image file") from None
        said = self.script.get(name) or _default(name)
        verdict = "fake" if said.score >= self.threshold else "real"
        if self.band and self.band[0] <= said.score < self.band[1]:
            verdict = "uncertain"
        finding = "no forgery found" if self.meaning == "forgeries" and verdict == "real" else verdict
        leans = said.leans or ("fake" if said.score >= 0.5 else "real")
        side = min(width, height)
        share = side * side / (width * height)
        remarks = []
        if finding == "no forgery found":
            remarks.append({"kind": "meaning", "words": UNFOUND})
        if leans == "fake" and verdict == "real":
            words = f"The model leans to fake ({said.score:.2f}), below the threshold of {self.threshold:.2f}."
            remarks.append({"kind": "leaning", "words": words})
        if said.off_script >= 0.5:
            words = (
                f"Distrust this verdict: with {said.off_script:.0%} probability the model would have said neither "
                '"real" nor "fake".'
            ).replace("%", " %")
            remarks.append({"kind": "off_script", "words": words})
        if share < 0.5:
            remarks.append(
                {"kind": "seen", "words": f"The model saw only the middle {share * 100:.0f} % of the picture."}
            )
        return {
            "index": 0, "name": name, "verdict": verdict, "finding": finding, "leans": leans, "score": said.score,
            "logit": math.log(said.score / (1 - said.score)), "off_script": said.off_script,
            "remark": " ".join(remark["words"] for remark in remarks) or None, "remarks": remarks,
            "how_sure": self._how_sure(said.score), "provenance": said.provenance,
            "seen": {
                "left": (width - side) // 2, "top": (height - side) // 2, "width": side, "height": side, "share": share,
            },
            "explanation": said.explanation or None, "width": width, "height": height, "format": picture.format,
            "note": None, "num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "error": None,
        }  # fmt: skip

    def _how_sure(self, score: float) -> Json:
        kind = "forged" if self.meaning == "forgeries" else "fake"

        def chance(rate: float) -> float:
            odds = score / (1 - score) * rate / (1 - rate)
            return odds / (1 + odds)

        def words(share: float) -> str:
            return "under 1 %" if share < 0.01 else "over 99 %" if share > 0.99 else f"about {share * 100:.0f} %"

        more = " It says nothing of generated images." if kind == "forged" else ""
        return {
            "base_rate": 0.01,
            "probability": chance(0.01),
            "words": f"The calibration says: of images like its own with this score, {words(score)} are {kind} "
            f"where 50 % of all are, "
            f"and {words(chance(0.01))} where 1 % are.{more}",
            "at": [{"base_rate": rate, "probability": chance(rate)} for rate in RATES],
        }

    async def _detect(self, request: Request) -> Response:
        if not self._opens(request):
            return _problem(Problem("unauthorized", "the API key is unknown or has been disabled"))
        async with request.form() as form:
            upload = form["file"]
            assert isinstance(upload, UploadFile)
            name, data = upload.filename or "", await upload.read()
        self.detections += 1
        try:
            result = self.result(name, data)
        except Problem as problem:
            return _problem(problem)

        async def events() -> AsyncIterator[bytes]:
            yield _event("verdict", {**result, "explanation": None})
            for word in (result["explanation"] or "").split(" "):
                if word:
                    yield _event("explanation", {"index": 0, "text": f"{word} "})
                    await anyio.sleep(self.word_s)
            yield b": still here\n\n"
            yield _event("result", result)
            yield _event("done", {
                "request_id": "0123456789abcdef", "model": self.model, "threshold": self.threshold,
                "notice": self.about()["notice"], "meaning": self.meaning,
                "timings": {"decode_ms": 3.1, "judge_ms": 41.0, "total_ms": 46.2},
            })  # fmt: skip

        return StreamingResponse(events(), media_type="text/event-stream", headers={"x-request-id": "0123456789abcdef"})

    def _opens(self, request: Request) -> bool:
        return self.key is None or request.headers.get("authorization") == f"Bearer {self.key}"

    async def _about(self, request: Request) -> Response:
        return JSONResponse(self.about())

    async def _models(self, request: Request) -> Response:
        if not self._opens(request):
            return _problem(Problem("unauthorized", "the API key is unknown or has been disabled"))
        return JSONResponse({"object": "list", "data": []})

    async def _file(self, request: Request) -> Response:
        file = page_files().get(request.url.path)  # anew, so that a change is seen
        if file is None:
            return _problem(Problem("not_found", f"there is no {request.url.path}"))
        return Response(file.body, headers={name.decode(): value.decode() for name, value in file.headers})

    def __enter__(self) -> Self:
        app = Starlette(routes=[
            Route("/", self._file), Route("/page/{name}", self._file), Route("/v1/about", self._about),
            Route("/v1/models", self._models), Route("/v1/detect", self._detect, methods=["POST"]),
        ])  # fmt: skip
        port = free_port()
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)


def _default(name: str) -> Scripted:
    """A score that the name alone decides: low for the samples that are real."""
    spread = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16) / 0xFFFFFF
    if "-real" in name:
        return Scripted(0.02 + 0.3 * spread**2, "This is a real image. Light and texture agree with each other.")
    return Scripted(0.98 - 0.35 * spread**2, "This is a fake image. The texture repeats itself along an edge.")


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _problem(problem: Problem) -> Response:
    return Response(problem.body("0123456789abcdef"), problem.status, problem.headers())


if __name__ == "__main__":
    with PageServer(word_s=0.05) as server:
        print(f"{server.url}, with answers for the files of {PAIRS[0].parent} and any others; Ctrl-C ends it")
        threading.Event().wait()
