"""Serves one report on the loopback interface, below a path that nobody can guess.

The token is in the path and not in a query: every address in the page is relative, so it needs no cookie, and the page
sends no Referer.
"""

import asyncio
import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import hdrs, web
from pydantic import ValidationError

from fakescan.report.media_types import media_type
from fakescan.report.report_file import NAME
from fakescan.report.view.label_log import LabelLog
from fakescan.report.view.report_files import ReportFiles, span
from fakescan.report.view.row_images import RowImages, ServedImage
from fakescan.review.labels import Label
from fakescan.storage.errors import classify, store_errors
from fakevlm.errors import ErrorCode, ImageError, UserError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_IMAGE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
_OVERVIEW_POLICY = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'none'"
"""The overview has its own in its head."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_STATUS = {
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CHANGED: 409,
    ErrorCode.DENIED: 403,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.FETCH_FAILED: 502,
}
_NO_IMAGE = 415
_MAX_BODY = 65_536
_PIECE = 2**20
_THREADS = 12
_REVIEWER = 200


class ViewServer:
    """The server's state; `application` makes what aiohttp runs."""

    def __init__(self, files: ReportFiles, images: RowImages, labels: LabelLog, *, reviewer: str) -> None:
        self.token = secrets.token_urlsafe(24)
        self.port = 0
        """Set when it listens."""
        self._files, self._images, self._labels, self._reviewer = files, images, labels, reviewer
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fakescan-view")

    def close(self) -> None:
        """Stop working."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def application(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY)
        root = "/{token}"
        app.router.add_get(f"{root}/api/image/{{row_id:\\d{{1,18}}}}", self._image)
        app.router.add_get(f"{root}/api/thumb/{{row_id:\\d{{1,18}}}}", self._thumb)
        app.router.add_get(f"{root}/api/labels", self._get_labels)
        app.router.add_post(f"{root}/api/labels", self._post_label)
        app.router.add_delete(f"{root}/api/labels/{{sha256:[0-9a-f]{{64}}}}", self._delete_label)
        app.router.add_get(f"{root}/api/sample/{{design:[a-z]{{1,20}}}}", self._sample)
        app.router.add_get(f"{root}/{{name:.*}}", self._file)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in whoever knows the token and has not been led here by another page."""
        try:
            if not _is_loopback(request.host, self.port):
                raise web.HTTPMisdirectedRequest(text="this server answers to 127.0.0.1 and localhost only")
            token = request.match_info.get("token", "")
            if not hmac.compare_digest(token.encode(errors="replace"), self.token.encode()):
                raise web.HTTPNotFound(text="not found: use the whole address that fakescan view printed")
            if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) and not _is_own(request):
                raise web.HTTPForbidden(text="only the page itself may do this")
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update({**_HEADERS, "Cache-Control": "no-store"})
            raise
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"] or "index.html"
        if name == NAME:
            return await self._report()
        found = await self._call(self._files.find, name)
        if found is None and not request.match_info["name"]:
            name = "report.html"
            found = await self._call(self._files.find, name)
        if found is None:
            raise web.HTTPNotFound(text="not found")
        headers = {
            "ETag": found.etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Type": media_type(name),
            "Content-Security-Policy": _OVERVIEW_POLICY if name == "report.html" else CONTENT_POLICY,
        }
        if request.headers.get("If-None-Match") == found.etag:
            return web.Response(status=304, headers=headers)
        wanted = request.headers.get("Range")
        if request.headers.get("If-Range", found.etag) != found.etag:
            wanted = None
        try:
            piece = span(wanted, found.size)
        except ValueError:
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
        first, last = piece or (0, found.size)
        if piece is not None:
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{found.size}"
        headers["Content-Length"] = str(last - first)
        response = web.StreamResponse(status=200 if piece is None else 206, headers={**_HEADERS, **headers})
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            for begin in range(first, last, _PIECE):
                await response.write(await self._call(self._files.read, found, begin, min(begin + _PIECE, last)))
        await response.write_eof()
        return response

    async def _report(self) -> web.Response:
        found = await self._call(self._files.find, NAME)
        if found is None:
            raise web.HTTPNotFound(text="the report is not there any more; make it again with fakescan report")
        report = json.loads(await self._call(self._files.read, found, 0, found.size))
        report["view"] = {"api": "api/", "reviewer": self._reviewer, "can_label": True}
        return _json(report)

    async def _image(self, request: web.Request) -> web.Response:
        return _shown(await self._call(self._images.full, int(request.match_info["row_id"])))

    async def _thumb(self, request: web.Request) -> web.Response:
        return _shown(await self._call(self._images.thumb, int(request.match_info["row_id"])))

    async def _get_labels(self, request: web.Request) -> web.Response:
        found = await self._call(self._labels.labels)
        fields = {"label", "reviewer", "at", "note", "second_look"}
        labels = {
            sha256: [label.model_dump(mode="json", include=fields) for label in some] for sha256, some in found.items()
        }
        return _json({"labels": labels})

    async def _post_label(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _error(415, "usage", "send application/json")
        try:
            label = Label.model_validate_json(await request.read())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return _error(400, "usage", f"{where}: {first['msg']}" if where else first["msg"])
        except ValueError as error:
            return _error(400, "usage", str(error))
        written = await self._call(self._labels.add, label)
        return _json({"label": written.model_dump(mode="json")}, status=201)

    async def _delete_label(self, request: web.Request) -> web.Response:
        reviewer = request.query.get("reviewer", "")[:_REVIEWER]
        if not await self._call(self._labels.take_back, request.match_info["sha256"], reviewer):
            return _error(404, "not_found", "this reviewer has not labelled the image in this session")
        return _json({})

    async def _sample(self, request: web.Request) -> web.Response:
        name = f"review/{request.match_info['design']}.json"
        found = await self._call(self._files.find, name)
        if found is None:
            return _error(
                404, "not_found", "there is no such sample in the report; make the report again after drawing it"
            )
        return _json(json.loads(await self._call(self._files.read, found, 0, found.size)))

    async def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function returns that blocks. A fault of a store is said in the response, without a traceback."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        except UserError as error:
            raise _failure(400, "usage", str(error)) from None
        except store_errors() as error:
            logger.info("a store failed", exc_info=error)
            raise _failure(502, "fetch_failed", classify(error)[1]) from None


def _failure(status: int, code: str, message: str) -> web.HTTPException:
    body = json.dumps({"error": {"code": code, "message": message}})
    kind = web.HTTPBadGateway if status == 502 else web.HTTPBadRequest
    return kind(text=body, content_type="application/json")


def _json(value: Any, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": _IMAGE_POLICY}
    return web.json_response(value, status=status, headers=headers)


def _error(status: int, code: str, message: str) -> web.Response:
    return _json({"error": {"code": code, "message": message}}, status)


def _shown(found: ServedImage | ImageError) -> web.Response:
    if isinstance(found, ImageError):
        return _error(_STATUS.get(found.code, _NO_IMAGE), str(found.code), found.message)
    headers = {"Cache-Control": "private, max-age=600", "Content-Security-Policy": _IMAGE_POLICY}
    return web.Response(body=found.data, content_type=found.media_type, headers=headers)


def _is_loopback(host: str, port: int) -> bool:
    """Whether a Host header is one of ours: a page elsewhere whose name leads to this machine has another one."""
    return host in {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}


def _is_own(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return (origin is None or origin == f"http://{request.host}") and site in ("same-origin", "none")


async def serve(server: ViewServer, port: int, on_ready: Callable[[str], None]) -> None:
    """Listen on 127.0.0.1 until this is cancelled; `on_ready` is told the address.

    Raises OSError where the port is taken.
    """
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=1.0)
        await site.start()
        server.port = runner.addresses[0][1]
        on_ready(f"http://127.0.0.1:{server.port}/{server.token}/")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        server.close()
