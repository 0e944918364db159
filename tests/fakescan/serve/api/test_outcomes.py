"""What the application of a replica tells the gate of its images, in whatever format they are answered."""

import asyncio
from typing import Any

import pytest

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.api.routes import make_app
from fakescan.serve.config import ServeConfig
from fakescan.serve.detector import Detector
from fakescan.serve.gate.fast_path import WholeRequest, run_whole
from fakescan.serve.outcome_header import Outcomes, read_outcomes
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def detector() -> Any:
    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig()))
    yield detector
    detector.close()


def told(detector: Detector, query: bytes, body: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[int, Outcomes]:
    """Status of a request to /v1/detect, and what came with the last message of its response."""

    async def accept(gate_token: str) -> bool:
        return True

    request = WholeRequest("POST", "/v1/detect", query, headers, body)
    response = asyncio.run(run_whole(make_app(detector, None, accept), request))
    last = [value for name, value in response.headers if name == b"x-fakescan-outcomes"][-1]
    return response.status, read_outcomes(last.decode())


def multipart(*images: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    header = b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
    parts = b"".join(header + image + b"\r\n" for image in images)
    return parts + b"--b--\r\n", [(b"content-type", b"multipart/form-data; boundary=b")]


@pytest.mark.parametrize("query", [b"explain=all", b"stream=true&explain=all", b"stream=true&explain=none"])
def test_every_image_is_told_streamed_or_not(detector: Detector, query: bytes) -> None:
    status, outcomes = told(detector, query, *multipart(PAIRS[0].read_bytes(), b"no image", PAIRS[1].read_bytes()))
    assert status == 200
    first, bad, last = outcomes.images
    assert bad.outcome == "not_an_image"
    assert {first.outcome, last.outcome} <= {"real", "fake", "uncertain"}
    assert min(first.pixels, last.pixels) > 0
    assert len({image.sha256 for image in outcomes.images}) == 3
    assert outcomes.decode_s is not None
    assert outcomes.judge_s is not None


def test_an_image_that_is_refused_is_told_too(detector: Detector) -> None:
    status, outcomes = told(detector, b"", b"no image", [(b"content-type", b"image/jpeg")])
    assert status == 415
    assert [image.outcome for image in outcomes.images] == ["not_an_image"]
