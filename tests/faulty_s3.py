"""A proxy before a real S3 server, which answers in its place as a test says: throttled, broken or forbidden."""

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_NOT_HANDED_ON = frozenset({"connection", "transfer-encoding", "keep-alive"})

Fault = Callable[[str, str], tuple[int, str] | None]
"""Method and path of a request to the status and S3 code with which it fails; None for one that is handed on."""


class FaultyS3:
    """`fault` may be replaced at any time. `answers` counts what was answered, by status."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.fault: Fault = lambda method, path: None
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.answers: Counter[int] = Counter()
        self.paths: Counter[str] = Counter()
        self.most_at_once = 0
        self.at_once = 0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def at_random(share: float, status: int, code: str, *, seed: int = 0, methods: str = "GET PUT") -> Fault:
    """So large a share of the requests fails."""
    draw = random.Random(seed)
    return lambda method, path: (status, code) if method in methods and draw.random() < share else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyS3

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        proxy = self.proxy
        with proxy.lock:
            proxy.at_once += 1
            proxy.most_at_once = max(proxy.most_at_once, proxy.at_once)
            proxy.paths[self.path.partition("?")[0]] += 1
            failed = proxy.fault(self.command, self.path)
        try:
            time.sleep(self.proxy.delay_s)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if failed is None:
                self._hand_on(body)
            else:
                self._fail(*failed)
        finally:
            with proxy.lock:
                proxy.at_once -= 1

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def _hand_on(self, body: bytes) -> None:
        upstream = self.proxy.upstream
        connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _NOT_HANDED_ON:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            connection.close()
        self.proxy.answers[answer.status] += 1
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _NOT_HANDED_ON | {"content-length", "date", "server"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

    def _fail(self, status: int, code: str) -> None:
        self.proxy.answers[status] += 1
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>so it is</Message></Error>'.encode()
        self.send_response(status)
        for name, value in {**self.proxy.headers, "Content-Type": "application/xml"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
