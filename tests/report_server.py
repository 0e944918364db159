"""A server of a report's folder for tests of its page: range requests as any web server has, and the interface of
`fakescan view`, scripted.

Run it to look at the page: `python -m tests.report_server FOLDER`.
"""

import mimetypes
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tests.report_folder import picture
from tests.serve_process import free_port

READY = "#views:not([hidden])"
"""What is seen once the page has its report."""
Json = dict[str, Any]


class ReportServer:
    """Serves `folder`, as a context. `ranges` false: answers each request with the whole file."""

    def __init__(self, folder: Path, *, ranges: bool = True, port: int | None = None) -> None:
        self.folder = folder
        self.ranges = ranges
        self.changed: set[int] = set()
        """Rows whose images are not those of the scan any more."""
        self.labels: list[Json] = []
        self.asked: list[tuple[str, str, int]] = []
        """Path, range and bytes of each answer."""
        routes = [
            Route("/api/labels", self._labels, methods=["GET", "POST"]),
            Route("/api/labels/{sha256}", self._take_back, methods=["DELETE"]),
            Route("/api/sample/{design}", self._sample),
            Route("/api/image/{row_id:int}", self._image),
            Route("/api/thumb/{row_id:int}", self._image),
            Route("/{path:path}", self._file),
        ]
        self.port = port or free_port()
        config = uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=self.port, log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def _file(self, request: Request) -> Response:
        path = self.folder / (request.path_params["path"] or "index.html")
        if not path.is_file():
            return Response(status_code=404)
        asked = request.headers.get("range", "")
        if not self.ranges:
            self.asked.append((path.name, asked, path.stat().st_size))
            return Response(path.read_bytes(), media_type=mimetypes.guess_type(path.name)[0])
        first, _, last = asked.removeprefix("bytes=").partition("-")
        self.asked.append((path.name, asked, int(last) - int(first) + 1 if asked else path.stat().st_size))
        return FileResponse(path)

    async def _labels(self, request: Request) -> Response:
        if request.method == "GET":
            found: dict[str, list[Json]] = {}
            for label in self.labels:
                found.setdefault(label["sha256"], []).append(label)
            return JSONResponse({"labels": found})
        label = {**await request.json(), "at": datetime.now(UTC).isoformat()}
        again = bool(label.get("second_look"))
        self.labels = [
            one
            for one in self.labels
            if not _same(one, label["sha256"], label["reviewer"]) or bool(one.get("second_look")) != again
        ] + [label]
        return JSONResponse({"label": label}, 201)

    async def _take_back(self, request: Request) -> Response:
        key = (request.path_params["sha256"], request.query_params["reviewer"])
        last = [one for one in self.labels if _same(one, *key)][-1:]
        self.labels = [one for one in self.labels if one not in last]
        return JSONResponse({})

    async def _sample(self, request: Request) -> Response:
        return Response(
            (self.folder / "review" / f"{request.path_params['design']}.json").read_bytes(),
            media_type="application/json",
        )

    async def _image(self, request: Request) -> Response:
        if request.path_params["row_id"] in self.changed:
            error = {"code": "changed", "message": "the object has changed since the scan"}
            return JSONResponse({"error": error}, 409)
        return Response(picture(request.path_params["row_id"], 960), media_type="image/jpeg")

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def _same(label: Json, sha256: str, reviewer: str) -> bool:
    return bool(label["sha256"] == sha256 and label["reviewer"] == reviewer)


if __name__ == "__main__":
    with ReportServer(Path(sys.argv[1]), port=int(sys.argv[2]) if len(sys.argv) > 2 else None) as server:
        print(server.url, flush=True)
        threading.Event().wait()
