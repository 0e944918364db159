"""A Hugging Face hub on loopback: serves a folder as the model `owner/tiny`, misbehaves where a test wants it."""

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"

Fault = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; faults answer it in the place of the hub."""

    protocol_version = "HTTP/1.1"
    hub: "HubServer"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".rstrip())
        kind = "api" if path.startswith("/api/") else "file"
        fault = self.hub.faults.get(path.rpartition("/")[2]) or self.hub.faults.get(kind)
        if path == "/login":
            self.answer(200, PAGE, {"Content-Type": "text/html"})
        elif fault is not None:
            fault(self)
        else:
            self.serve()

    def serve(self) -> None:
        """As the hub does."""
        path = self.path.partition("?")[0]
        if re.fullmatch(rf"/api/models/owner/tiny/revision/(main|v1|{COMMIT})", path):
            self.answer(200, json.dumps(self.hub.listing()).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/api/models/owner/tiny/"):
            self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith("/api/"):
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        else:
            self.send_file(self.hub.folder / path.rpartition("/")[2])

    def send_file(self, file: Path, *, until: int | None = None, length: int | None = None) -> None:
        """The file or the span that is asked for; `until` breaks it off at a byte, `length` lies about its size."""
        data, first, status = file.read_bytes(), 0, 200
        headers = {"ETag": f'"{blob_name(data)}"', "X-Repo-Commit": COMMIT, "Content-Type": "application/octet-stream"}
        if span := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            first, status = int(span[1]), 206
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self.answer(status, data[first:until], headers, length=length if length is not None else len(data) - first)
        if until is not None:
            self.close_connection = True

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> None:
        self.send_response(status)
        size = len(body) if length is None else length
        for name, value in {**(headers or {}), "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if size != len(body):
            self.close_connection = True


class HubServer:
    """`faults` are for the listing (`api`), for files (`file`), or for one file by its name; `requests` have come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, Fault] = {}
        self.requests: list[str] = []
        self.over = threading.Event()
        """Set at the end: what was to wait forever need not wait longer."""
        handler = type("Handler", (Request,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.large: set[str] = {"model.safetensors"}
        """Files that the hub keeps as LFS objects."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def got(self) -> list[str]:
        """The files that were asked for, with the first byte where that was not 0."""
        found = [re.match(r"GET /owner/tiny/resolve/\w+/(\S+)(?: bytes=(\d+)-)?$", line) for line in self.requests]
        return [f"{match[1]} from {match[2]}" if match[2] else match[1] for match in found if match]

    def listing(self) -> dict[str, Any]:
        siblings = []
        for file in sorted(self.folder.iterdir()):
            data = file.read_bytes()
            entry: dict[str, Any] = {"rfilename": file.name, "size": len(data), "blobId": blob_name(data)}
            if file.name in self.large:
                sha256 = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 134}
            siblings.append(entry)
        siblings.append({"rfilename": "checkpoint-1/optimizer.bin", "size": 10, "blobId": "0" * 40})
        return {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


def blob_name(data: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def silent(request: Request) -> None:
    """Takes the request and says nothing."""
    request.hub.over.wait(60)
    request.close_connection = True


def headers_only(request: Request) -> None:
    """Announces a body, and sends none of it."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    request.wfile.flush()
    silent(request)


def reset(request: Request) -> None:
    """Resets the connection."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    request.close_connection = True


def closed(request: Request) -> None:
    """Closes the connection without a word."""
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def page(request: Request) -> None:
    """A login page."""
    request.answer(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})


def redirected(request: Request) -> None:
    """Sends everybody to a login page."""
    request.answer(302, b"", {"Location": "/login"})


def in_circles(request: Request) -> None:
    """Sends everybody where they come from."""
    request.answer(302, b"", {"Location": request.path})


def saying(body: bytes, status: int = 200, **headers: str) -> Fault:
    """Always the same answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.answer(status, body, named)


def status(number: int, **headers: str) -> Fault:
    """Always this status."""
    return saying(b'{"error": "so it is"}', number, **headers)


def half(request: Request) -> None:
    """Breaks a file off half way, and the rest of it again, so that ever less comes."""
    file = request.hub.folder / request.path.rpartition("/")[2]
    request.send_file(file, until=file.stat().st_size // 2)
