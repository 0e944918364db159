"""Spans of requests, sent to an OpenTelemetry collector; nothing at all, and no import, where none is named.

Spans are queued and sent by a thread: a collector that is slow, absent or full costs spans, never a request.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

from fakevlm.errors import UserError

# Serve's log, where the processes that have spans write.
logger = logging.getLogger("ray.serve.fakescan")

Span = Any
"""A span of OpenTelemetry's; None where there is none."""

TRACE_HEADERS = (b"traceparent", b"tracestate")
"""Headers of W3C Trace Context."""

_BASE, _TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOL, _TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
_PROTOCOLS = ("http/protobuf", "grpc")
_PATH = "/v1/traces"
_TIMEOUT_S = 5.0
"""Seconds for one export, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise."""
_NO_SPAN: AbstractContextManager[Span] = nullcontext()


class _State:
    """What this process has been told."""

    setting: tuple[str | None, str] | None = None
    provider: Any = None
    tracer: Any = None
    endpoint: str | None = None
    """Address for the traces themselves."""


def endpoint_of(setting: str | None) -> str | None:
    """Where spans go: the setting, else what OpenTelemetry's own variables say; None for nowhere. Raises UserError."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    name = "otlp_endpoint" if setting else _TRACES if os.environ.get(_TRACES) else _BASE
    url = setting or os.environ.get(_TRACES) or os.environ.get(_BASE)
    if not url:
        return None
    if fault := endpoint_fault(url):
        raise UserError(f"{name}: {fault}")
    if _protocol() == "grpc" or name == _TRACES or url.rstrip("/").endswith(_PATH):
        return url
    return url.rstrip("/") + _PATH


def endpoint_fault(url: str) -> str:
    """What is wrong with an address for a collector; empty for a right one."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        return f"{url!r} is not the address of a collector; write it as http://HOST:4318"
    if parts.username or parts.password or parts.query:
        return "secrets do not belong in the address; set OTEL_EXPORTER_OTLP_HEADERS"
    return ""


def check(setting: str | None) -> str | None:
    """What `endpoint_of` returns, once the packages are there too. Raises UserError."""
    endpoint = endpoint_of(setting)
    if endpoint is not None:
        if (chosen := _protocol()) not in _PROTOCOLS:
            raise UserError(f"{_PROTOCOL}: {chosen!r} is not spoken here; use {' or '.join(_PROTOCOLS)}")
        try:
            _exporter(endpoint).shutdown()
        except ImportError as error:
            raise UserError(f"otlp_endpoint: {error.name} is not installed; install fakescan[serve]") from None
    return endpoint


def configure(setting: str | None, component: str) -> None:
    """Have this process, which is a `component` such as `gate`, send its spans; again without effect."""
    if (setting, component) == _State.setting:
        return
    _State.setting = setting, component
    if _State.provider is not None:
        # Not here: it waits for the collector.
        threading.Thread(target=_State.provider.shutdown, name="tracing-end", daemon=True).start()
        _State.provider = _State.tracer = _State.endpoint = None
    try:
        endpoint = check(setting)
    except UserError as error:
        logger.warning("no traces: %s", error)
        return
    if endpoint is not None:
        _start(endpoint, component)


def _start(endpoint: str, component: str) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from fakevlm import __version__

    # One line of our own says that spans are lost, and not a line for each batch; and the engine's library sets a
    # provider of its own, which is then refused.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    facts: dict[str, str | int] = {
        "service.version": __version__,
        "fakescan.component": component,
        "process.pid": os.getpid(),
    }
    if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        facts["service.name"] = "fakescan"
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_told(_exporter(endpoint), endpoint)))
    trace.set_tracer_provider(provider)  # for the engine's spans, which are made in this process
    os.environ.setdefault(_TRACES_PROTOCOL, _protocol())  # vLLM's default is another one
    _State.provider, _State.endpoint = provider, endpoint
    _State.tracer = provider.get_tracer("fakescan", __version__)


def _protocol() -> str:
    return os.environ.get(_TRACES_PROTOCOL) or os.environ.get(_PROTOCOL) or "http/protobuf"


def _exporter(endpoint: str) -> Any:
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _TIMEOUT_S
    if _protocol() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=timeout)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter(endpoint, timeout=timeout)


def _told(exporter: Any, endpoint: str) -> Any:
    """The exporter, which says once that spans are lost, and once that they arrive again."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Told(SpanExporter):
        is_failing = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result: SpanExportResult = exporter.export(spans)
            except Exception:  # noqa: BLE001 - of a library; no request depends on it
                result = SpanExportResult.FAILURE
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self.is_failing:
                logger.warning("traces: the collector at %s takes no spans; they are lost until it does", endpoint)
            elif self.is_failing and not failed:
                logger.warning("traces: the collector at %s takes spans again", endpoint)
            self.is_failing = failed
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return bool(exporter.force_flush(timeout_millis))

    return Told()


def is_on() -> bool:
    """Whether this process has spans."""
    return _State.tracer is not None


def engine_endpoint() -> str | None:
    """Where vLLM is to send what it knows of a request; None for nowhere."""
    return _State.endpoint


def _is_within() -> bool:
    """Whether this thread or task is at work on a request that has a span: others are nobody's."""
    if _State.tracer is None:
        return False
    from opentelemetry.trace import get_current_span

    return bool(get_current_span().get_span_context().is_valid)


def server_span(name: str, headers: Sequence[tuple[bytes, bytes]], **attributes: Any) -> AbstractContextManager[Span]:
    """The span of a request that has come in with these headers, whose sender it belongs to; current within."""
    if _State.tracer is None:
        return _NO_SPAN
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in TRACE_HEADERS}
    return _current(name, SpanKind.SERVER, attributes, TraceContextTextMapPropagator().extract(carrier))


def client_span(name: str, **attributes: Any) -> AbstractContextManager[Span]:
    """The span of a call to another process, which gets `with_trace`; current within."""
    if not _is_within():
        return _NO_SPAN
    from opentelemetry.trace import SpanKind

    return _current(name, SpanKind.CLIENT, attributes)


def span(name: str, **attributes: Any) -> AbstractContextManager[Span]:
    """A span within the current one; current within."""
    return _current(name, None, attributes) if _is_within() else _NO_SPAN


@contextmanager
def _current(name: str, kind: Any, attributes: Mapping[str, Any], context: Any = None) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    kind = SpanKind.INTERNAL if kind is None else kind
    # Not with the error itself: its message may hold anything.
    with _State.tracer.start_as_current_span(
        name, context, kind, _named(attributes), record_exception=False, set_status_on_exception=False
    ) as started:
        try:
            yield started
        except BaseException as error:
            started.set_attribute("error.type", str(getattr(error, "code", "") or type(error).__name__))
            raise


def begin(name: str, **attributes: Any) -> Span:
    """A span within the current one that is not current itself, to be ended with `end`; None without tracing."""
    return _State.tracer.start_span(name, attributes=_named(attributes)) if _is_within() else None


def describe(span: Span, **attributes: Any) -> None:
    """Add attributes to a span, if there is one."""
    if span is not None:
        span.set_attributes(_named(attributes))


def end(span: Span, **attributes: Any) -> None:
    """End a span, if there is one."""
    if span is not None:
        span.set_attributes(_named(attributes))
        span.end()


def fail(span: Span) -> None:
    """A span, if there is one, is that of a failure."""
    if span is not None:
        from opentelemetry.trace import StatusCode

        span.set_status(StatusCode.ERROR)


def trace_id(span: Span) -> str | None:
    """The trace of a span, as 32 hexadecimal digits."""
    return None if span is None else f"{span.get_span_context().trace_id:032x}"


def trace_headers(span: Span) -> dict[str, str]:
    """Headers by which another process, or vLLM, makes spans within this one; none without it."""
    if span is None:
        return {}
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
    return headers


def with_trace(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a call, with the current span in place of the client's; as they are without tracing."""
    if not _is_within():
        return headers
    from opentelemetry.trace import get_current_span

    ours = [(name.encode(), value.encode()) for name, value in trace_headers(get_current_span()).items()]
    return [*(pair for pair in headers if pair[0] not in TRACE_HEADERS), *ours]


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """`request_id` as `fakescan.request_id`; names with a point in them, which are OpenTelemetry's, as they are."""
    return {
        name if "." in name else f"fakescan.{name}": value for name, value in attributes.items() if value is not None
    }
