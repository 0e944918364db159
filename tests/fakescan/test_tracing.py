"""Whether there are traces, and where they go."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from fakescan import tracing
from fakescan.serve.config import ServeConfig
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


def test_off_costs_no_import() -> None:
    program = """
import sys
from fakescan import tracing
import fakescan.serve.config
tracing.configure(None, "gate")
with tracing.server_span("a", [(b"traceparent", b"x")]) as one, tracing.span("b"), tracing.client_span("c"):
    tracing.describe(one, status=3); tracing.end(tracing.begin("d"))
headers = [(b"traceparent", b"x")]
assert tracing.with_trace(headers) is headers and tracing.trace_headers(one) == {} and tracing.trace_id(one) is None
print(sorted(name for name in sys.modules if "opentelemetry" in name))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("setting", "variables", "endpoint"),
    [
        (None, {}, None),
        ("http://c:4318", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/", {}, "http://c:4318/v1/traces"),
        ("https://c/otel", {}, "https://c/otel/v1/traces"),
        ("http://c:4318/v1/traces", {}, "http://c:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:4318"}, "http://d:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d:4318/x"}, "http://d:4318/x"),
        ("http://c:4318", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/x"}, "http://c:4318/v1/traces"),
        ("http://c:4317", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://c:4317"),
        ("http://c:4318", {"OTEL_SDK_DISABLED": "true"}, None),
        ("http://c:4318", {"OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_where_spans_go(
    setting: str | None, variables: dict[str, str], endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracing.endpoint_of(setting) == endpoint


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("collector:4318", "write it as http://HOST:4318"),
        ("ftp://collector", "write it as"),
        ("http://", "write it as"),
        ("http://c:99999", "write it as"),
        ("http://[::1", "write it as"),
        ("http://user:pass@c:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("http://c:4318?key=1", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("", "write it as"),
    ],
)
def test_addresses_that_are_none(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=words):
        ServeConfig(no_auth=True, otlp_endpoint=url)
    if url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with pytest.raises(UserError, match=f"^OTEL_EXPORTER_OTLP_ENDPOINT: .*{words}"):
            tracing.check(None)


def test_a_protocol_that_is_not_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(UserError, match="'http/json' is not spoken here; use http/protobuf or grpc"):
        tracing.check("http://c:4318")
