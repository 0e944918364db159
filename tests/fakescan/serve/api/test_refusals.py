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
