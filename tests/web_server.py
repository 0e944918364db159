"""A web server on loopback whose answers a test scripts, path by path."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass
class Answer:
    """One HTTP answer. `length` false: no Content-Length, the body ends with the connection. `cut`: bytes sent."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True
    cut: int | None = None
    wait: threading.Event | None = None


@dataclass
class Seen:
    """A request as it came over the wire."""

    target: str
    headers: dict[str, str]


class WebServer:
    """`answers[path]` is an Answer, or a function of the request that returns one; `seen` holds what was asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.answers: dict[str, Answer | Callable[[Seen], Answer]] = {}
        self.seen: list[Seen] = []
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()})
                web.seen.append(seen)
                found = web.answers.get(self.path.partition("?")[0], Answer(b"", 404))
                answer = found if isinstance(found, Answer) else found(seen)
                if answer.wait is not None:
                    answer.wait.wait(30)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.length:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client may have seen enough
                    self.wfile.write(answer.body[: answer.cut])

            def log_message(self, format: str, *arguments: object) -> None:
                """Keep the test's output quiet."""

        return Handler

    def __enter__(self) -> "WebServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for answer in self.answers.values():
            if isinstance(answer, Answer) and answer.wait is not None:
                answer.wait.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
