"""Refusals speak of the request: whoever sends one has no command line. The application of a replica, without Serve."""

from typing import Any

import pytest

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.config import ServeConfig
from fakescan.serve.detector import Detector
from tests.fakescan.serve.api.replica import send

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("path", "options", "detail"),
    [
        ("/v1/detect", {"files": {"file": b"x"}, "params": {"colour": "red"}}, "colour: unknown option"),
        ("/v1/detect", {"files": {"file": b"x"}, "data": {"colour": "red"}}, "colour: unknown option"),
        ("/v1/scans", {"json": {"source": "/x", "colour": "red"}}, "colour: unknown field"),
        (
            "/v1/scans",
            {"json": {"source": "/x", "output": "/y", "engine": "fake"}},
            "output: unknown field; and 1 more",
        ),
        (
            "/v1/scans",
            {"json": {"source": "/x", "limit": 1, "sample": 1}},
            "request: limit and sample exclude each other; give one of them",
        ),
        ("/v1/chat/completions", {"json": {"model": "m"}}, "messages: Field required"),
    ],
)
def test_a_wrong_request_is_told_its_own_mistake(
    detector: Detector, path: str, options: dict[str, Any], detail: str
) -> None:
    response = send(detector, "POST", path, **options)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid"
    assert response.json()["detail"] == detail


def test_what_is_no_json_is_the_requests_mistake(detector: Detector) -> None:
    json_type = {"content-type": "application/json"}
    response = send(detector, "POST", "/v1/scans", content=b"{", headers=json_type)
    assert response.json()["detail"].startswith("request: Invalid JSON")


@pytest.mark.parametrize("config", [ServeConfig(no_auth=True), ServeConfig(no_auth=True, engine=SimulatedConfig())])
def test_the_notice_names_no_flag(monkeypatch: pytest.MonkeyPatch, detector: Detector, config: ServeConfig) -> None:
    monkeypatch.setattr("fakescan.serve.detector.open_engine", lambda *_: detector._engine)
    other = Detector(config)
    other._decoder.close()  # the engine is the other tests'
    assert other.notice
    assert "--" not in other.notice


def test_an_error_of_the_server_is_logged_once_and_in_few_lines(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise RuntimeError("x" * 100_000)
        deep(levels - 1)

    monkeypatch.setattr("fakescan.serve.api.routes.refuse_options", lambda query: deep(500))
    with caplog.at_level("ERROR"):
        response = send(detector, "POST", "/v1/chat/completions", json={})  # which raises what Serve would log again
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(record.getMessage()) < 5000
    assert record.exc_info is None


def test_a_form_that_is_cut_off_and_a_long_name_are_told_so(detector: Detector) -> None:
    headers = {"content-type": "multipart/form-data; boundary=B"}
    part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nxyz'
    cut = send(detector, "POST", "/v1/detect", content=part, headers=headers)
    assert cut.json()["detail"] == "the form is cut off: the boundary that ends it is missing"
    none = send(detector, "POST", "/v1/detect", content=b"--B--\r\n", headers=headers)
    assert none.json()["detail"].startswith("the form has no file")
    long = send(detector, "POST", "/v1/chat/completions", json={"model": "m" * 5000, "messages": [{}]})
    assert long.json()["error"]["param"] == "model"
    assert "a name of over 4,095 bytes" in long.json()["detail"]
