"""A real server with logs in JSON and traces: one request from the client's span to the engine's, across processes."""

import json
import signal
from pathlib import Path

import pytest

from tests.gated import until
from tests.json_lines import collecting, json_lines, line_of
from tests.serve_process import serving

pytestmark = [pytest.mark.engine, pytest.mark.timeout(500)]

TRACE, CLIENT_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_one_request_in_logs_and_traces(tmp_path: Path) -> None:
    with collecting() as collector:
        flags = ("--no-auth", "--otlp-endpoint", collector.url, "--log-format", "json", "-v")
        with serving(*flags, environment={"OTEL_BSP_SCHEDULE_DELAY": "200"}) as served, served.client() as client:
            headers = {"traceparent": f"00-{TRACE}-{CLIENT_SPAN}-01", "x-request-id": "the-request"}
            headers["content-type"] = "image/png"
            answer = client.post("/v1/detect?explain=all", content=served.pairs[0].read_bytes(), headers=headers)
            assert answer.status_code == 200
            until("the trace is whole", lambda: "POST /v1/detect" in {span.name for span in collector.of(TRACE)}, 20)
            until("the engine's span too", lambda: "llm_request" in {span.name for span in collector.of(TRACE)}, 20)
            spans = {span.name: span for span in collector.of(TRACE)}
            assert spans["POST /v1/detect"].parent == CLIENT_SPAN
            for name, parent in (
                ("forward", "POST /v1/detect"), ("replica", "forward"), ("image", "replica"), ("judge", "image"),
                ("llm_request", "judge"),
            ):  # fmt: skip
                assert spans[name].parent == spans[parent].id, name
            gate, replica = spans["forward"].resource, spans["judge"].resource
            assert (gate["fakescan.component"], replica["fakescan.component"]) == ("gate", "replica")
            assert gate["process.pid"] != replica["process.pid"]
            assert str(spans["llm_request"].attributes["gen_ai.request.id"]).startswith("the-request")
            (logs,) = [
                line["message"].removeprefix("logs: ")
                for line in json_lines("".join(served.process.lines["err"]))
                if line["message"].startswith("logs: ")
            ]
            access = [
                json.loads(line) for file in Path(logs).glob("access_*.jsonl") for line in file.read_text().splitlines()
            ]
            (line,) = [line for line in access if line["request_id"] == "the-request"]
            assert line["trace_id"] == TRACE
            served.process.signal(signal.SIGHUP)  # nothing has changed; it says so
            served.process.wait_for("the answer", lambda: "nothing has changed" in served.process.err)
            for file in Path(logs).glob("*.log"):
                for raw in file.read_bytes().splitlines():
                    assert "message" in json.loads(raw), (file, raw)
            (replica_log,) = [file for file in Path(logs).glob("replica_fakevlm_Detector*.log")]
            ours = [line_of(raw) for raw in replica_log.read_bytes().splitlines() if raw.startswith(b'{"time"')]
            assert any(line["replica"] and line["component_name"] == "replica" for line in ours)
    lines = json_lines(served.process.err)
    assert "stopped" in {line["message"] for line in lines}
    assert {"fakescan.serve"} <= {line["logger"] for line in lines}
