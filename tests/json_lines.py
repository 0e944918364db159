"""What must hold of every line that a command writes to stderr in JSON, and a collector of OpenTelemetry's spans."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def json_lines(text: str | bytes) -> list[dict[str, Any]]:
    """The lines of a stream, each of which must be an object with the fields that every line has."""
    data = text.encode() if isinstance(text, str) else text
    assert data.endswith(b"\n") or not data, "the last line has its end"
    return [line_of(raw) for raw in data.split(b"\n")[:-1]]


def line_of(raw: bytes) -> dict[str, Any]:
    assert raw.isascii(), raw
    assert raw.decode().isprintable(), raw
    line: dict[str, Any] = json.loads(raw, parse_constant=_refuse)
    assert isinstance(line, dict), raw
    assert list(line)[:4] == ["time", "level", "logger", "message"], raw
    assert TIME.fullmatch(line["time"]), raw
    assert line["level"] in LEVELS, raw
    assert isinstance(line["message"], str), raw
    return line


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@dataclass(frozen=True)
class Span:
    """A span as the collector got it."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    status: int


@dataclass
class Collector:
    """An OTLP receiver on a port of its own."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def of(self, trace: str) -> list[Span]:
        """The spans of one trace."""
        return [span for span in list(self.spans) if span.trace == trace]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that speaks OTLP over HTTP, and fails on whatever is no OTLP."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            is_right = (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            if is_right:
                collector.bodies.append(body)
                collector.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200 if is_right else 400)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield Span(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    _attributes(span.attributes),
                    resource,
                    span.status.code,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
