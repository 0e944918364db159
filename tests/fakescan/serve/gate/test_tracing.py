"""The spans of a request through a gate and a replica, as a collector gets them over OTLP."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fakescan import tracing
from fakescan.engine.config import SimulatedConfig
from fakescan.serve.api.routes import make_app
from fakescan.serve.config import Limits, ServeConfig
from fakescan.serve.detector import Detector
from fakescan.serve.keys import KeyEdit, KeyFile, KeyRing
from tests.gated import TOKEN, Gated, StubControl, log_lines, until
from tests.json_lines import Collector, Span, collecting
from tests.serve_process import PAIRS
from tests.silent_server import SilentServer

pytestmark = pytest.mark.unit

SERVER, CLIENT = 2, 3
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig(tokens=4)))
    yield detector
    detector.close()


Trace = Callable[[str], None]


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """Sends this process's spans somewhere until the test ends."""

    def to(url: str) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        monkeypatch.setattr(tracing._State, "setting", None)

    yield to
    monkeypatch.undo()
    tracing._State.setting = None
    tracing.configure(None, "gate")
    assert not tracing.is_on()
    for thread in threading.enumerate():
        if thread.name == "tracing-end":  # no other test hears what is left being sent
            thread.join(30)


@pytest.fixture
def collector(trace: Trace) -> Iterator[Collector]:
    with collecting() as found:
        trace(found.url)
        yield found


@pytest.fixture
def key_and_control() -> tuple[str, StubControl]:
    edit = KeyEdit(KeyFile())
    key = edit.add("shop", scopes=("detect", "metrics"))
    return key, StubControl(Limits(), KeyRing(KeyFile(keys=tuple(edit.keys))))


Serving = Callable[[bool], tuple[Gated, str]]


@pytest.fixture
def serve(detector: Detector, key_and_control: tuple[str, StubControl]) -> Iterator[Serving]:
    """Starts a gate with a replica behind it, by the fast path or by Serve's; returns it and a key."""
    running: list[Gated] = []
    key, control = key_and_control

    async def accept(gate_token: str) -> bool:
        return gate_token == TOKEN

    def start(fast: bool) -> tuple[Gated, str]:
        running.append(Gated(control, fast=fast, app=make_app(detector, None, accept)))
        running[-1].ask("/readyz", method="GET")  # the gate has its settings
        return running[-1], key

    yield start
    for gated in running:
        gated.close()


@pytest.fixture
def served(serve: Serving) -> tuple[Gated, str]:
    return serve(True)


def whole(collector: Collector, trace: str, root: str) -> dict[str, Span]:
    """The spans of a trace by their names, once the one called `root`, the last to end, is there."""
    until("the spans are there", lambda: any(span.name == root for span in collector.of(trace)))
    return {span.name: span for span in collector.of(trace)}


@pytest.mark.parametrize("fast", [False, True], ids=["Serve's path", "fast path"])
def test_the_tree_of_a_request(collector: Collector, serve: Serving, fast: bool) -> None:
    gated, key = serve(fast)
    headers = {"traceparent": PARENT, "tracestate": "vendor=1", "x-request-id": "my-id", "content-type": "image/png"}
    answer = gated.ask("/v1/detect?explain=all", key=key, content=PAIRS[0].read_bytes(), headers=headers)
    assert answer.status == 200
    spans = whole(collector, PARENT.split("-")[1], "POST /v1/detect")
    parents = {
        "POST /v1/detect": None,
        "authenticate": "POST /v1/detect",
        "admit": "POST /v1/detect",
        "receive": "POST /v1/detect",
        "forward": "POST /v1/detect",
        "replica": "forward",
        "parse": "replica",
        "image": "replica",
        "wait to decode": "image",
        "decode": "image",
        "judge": "image",
    }
    assert spans.keys() == parents.keys()
    assert spans["POST /v1/detect"].parent == PARENT.split("-")[2], "the client's own span"
    for name, parent in parents.items():
        if parent is not None:
            assert spans[name].parent == spans[parent].id, name
    assert [spans[name].kind for name in ("POST /v1/detect", "forward", "replica")] == [SERVER, CLIENT, SERVER]
    assert spans["POST /v1/detect"].attributes["fakescan.request_id"] == "my-id"
    assert spans["replica"].attributes["fakescan.request_id"] == "my-id"
    assert spans["POST /v1/detect"].attributes["http.response.status_code"] == 200
    assert spans["image"].attributes["fakescan.outcome"] in ("fake", "real", "uncertain")
    assert spans["replica"].resource["service.name"] == "fakescan"


def test_nothing_secret_travels(collector: Collector, served: tuple[Gated, str]) -> None:
    gated, key = served
    image = PAIRS[0].read_bytes()
    answer = gated.ask("/v1/detect", key=key, files=[("file", ("secret name.png", image))])
    assert answer.status == 200
    until("it is there", lambda: any(span.name == "POST /v1/detect" for span in collector.spans))
    sent = b"".join(collector.bodies)
    for secret in (key.encode(), key.partition("_")[2].encode(), TOKEN.encode(), image[100:116], b"secret name"):
        assert secret not in sent
    assert len(sent) < 20_000


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [({}, 401, "unauthorized"), ({"content-type": "text/html"}, 415, "unsupported_media")],
)
def test_a_refusal_says_why(
    collector: Collector, served: tuple[Gated, str], headers: dict[str, str], status: int, code: str
) -> None:
    gated, key = served
    headers = {**headers, "traceparent": PARENT}
    answer = gated.ask("/v1/detect", key=key if status == 415 else None, content=b"x", headers=headers)
    assert answer.status == status
    root = whole(collector, PARENT.split("-")[1], "POST /v1/detect")["POST /v1/detect"]
    assert root.attributes["http.response.status_code"] == status
    assert root.attributes["fakescan.code"] == code
    assert root.status == 0, "it is the client's mistake"


@pytest.mark.parametrize(
    "parent", ["", "garbage", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff" + PARENT[2:], PARENT * 9]
)
def test_a_malformed_parent_begins_a_trace(collector: Collector, served: tuple[Gated, str], parent: str) -> None:
    gated, key = served
    headers = {"traceparent": parent, "content-type": "image/png"}
    assert gated.ask("/v1/detect", key=key, content=PAIRS[0].read_bytes(), headers=headers).status == 200
    until("it is there", lambda: any(span.name == "POST /v1/detect" for span in collector.spans))
    (root,) = [span for span in collector.spans if span.name == "POST /v1/detect"]
    assert not root.parent
    assert {span.trace for span in collector.spans} == {root.trace}


def test_what_the_client_does_not_want_sampled_is_not(collector: Collector, served: tuple[Gated, str]) -> None:
    gated, key = served
    for flags, content_type in (("00", "image/png"), ("01", "text/html")):
        headers = {"traceparent": PARENT[:-2] + flags, "content-type": content_type}
        gated.ask("/v1/detect", key=key, content=PAIRS[0].read_bytes(), headers=headers)
    spans = whole(collector, PARENT.split("-")[1], "POST /v1/detect")
    assert "image" not in spans, "only the second one is there"


def test_probes_have_no_spans(collector: Collector, served: tuple[Gated, str]) -> None:
    gated, key = served
    for path in ("/healthz", "/readyz", "/metrics", "/v1/about"):
        gated.ask(path, method="GET", key=key)
    until("it is there", lambda: any(span.name == "GET /v1/about" for span in collector.spans))
    assert not [span for span in collector.spans if "z" in span.name or "metrics" in span.name]


def test_the_log_has_the_trace(
    collector: Collector, served: tuple[Gated, str], caplog: pytest.LogCaptureFixture
) -> None:
    gated, key = served
    with caplog.at_level(logging.INFO, logger="ray.serve.fakescan"):
        headers = {"traceparent": PARENT, "content-type": "image/png"}
        gated.ask("/v1/detect", key=key, content=PAIRS[0].read_bytes(), headers=headers)
        until("it is written", lambda: len(log_lines(caplog)) == 1)
    assert log_lines(caplog)[0]["trace_id"] == PARENT.split("-")[1]


@pytest.mark.parametrize("collector_is", ["absent", "silent", "refusing"])
def test_without_a_collector_requests_are_answered_as_quickly(
    served: tuple[Gated, str], trace: Trace, caplog: pytest.LogCaptureFixture, collector_is: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gated, key = served
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with SilentServer(b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n" if collector_is == "refusing" else b"") as server:
        url = "http://127.0.0.1:9" if collector_is == "absent" else server.url
        trace(url)
        gated.ask("/readyz", method="GET")  # the gate hears of it
        headers = {"content-type": "image/png"}
        began = time.monotonic()
        for _ in range(10):
            assert gated.ask("/v1/detect", key=key, content=PAIRS[0].read_bytes(), headers=headers).status == 200
        assert time.monotonic() - began < 8
        warned = lambda: [record for record in caplog.records if f"{url}/v1/traces takes no" in record.message]  # noqa: E731
        until("it is said", lambda: bool(warned()), 15)
        for _ in range(10):
            assert gated.ask("/v1/detect", key=key, content=PAIRS[0].read_bytes(), headers=headers).status == 200
        assert len(warned()) == 1
        tracing._State.setting = None
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
        began = time.monotonic()
        tracing.configure(None, "gate")
        assert time.monotonic() - began < 8


def test_no_tracing_is_no_tracing(
    served: tuple[Gated, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gated, key = served
    assert not tracing.is_on()
    headers = {"traceparent": PARENT, "content-type": "image/png"}
    with caplog.at_level(logging.INFO, logger="ray.serve.fakescan"):
        answer = gated.ask("/v1/detect", key=key, content=PAIRS[0].read_bytes(), headers=headers)
        until("it is written", lambda: len(log_lines(caplog)) == 1)
    assert answer.status == 200
    assert "results" in json.loads(answer.body)
    assert "trace_id" not in log_lines(caplog)[0]
