"""A gate with the application of a replica behind it, without Serve between them."""

import hashlib
import json
import logging
from collections.abc import Iterator

import pytest

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.api.routes import make_app
from fakescan.serve.config import Limits, ServeConfig
from fakescan.serve.detector import Detector
from fakescan.serve.keys import KeyEdit, KeyFile, KeyRing
from tests.gated import TOKEN, Gated, StubControl, log_lines, until
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig()))
    yield detector
    detector.close()


@pytest.fixture(params=[False, True], ids=["Serve's path", "fast path"])
def served(request: pytest.FixtureRequest, detector: Detector) -> Iterator[tuple[Gated, str]]:
    """The gate, and a key for everything."""
    edit = KeyEdit(KeyFile())
    key = edit.add("shop", per_minute=1, burst=8, scopes=("detect", "metrics"))

    async def accept(gate_token: str) -> bool:
        return gate_token == TOKEN

    control = StubControl(Limits(), KeyRing(KeyFile(keys=tuple(edit.keys))))
    gated = Gated(control, fast=request.param, app=make_app(detector, None, accept))
    yield gated, key
    gated.close()


@pytest.mark.parametrize("query", ["explain=all", "explain=all&stream=true"])
def test_images_are_counted_logged_and_charged(
    served: tuple[Gated, str], query: str, caplog: pytest.LogCaptureFixture
) -> None:
    gated, key = served
    images = [PAIRS[0].read_bytes(), b"no image", PAIRS[1].read_bytes()]
    files = [("file", (str(number), image)) for number, image in enumerate(images)]
    with caplog.at_level(logging.INFO, logger="ray.serve.fakescan"):
        answer = gated.ask(f"/v1/detect?{query}", key=key, files=files)
        until("it is written", lambda: len(log_lines(caplog)) == 1)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-fakescan")]
    assert b"fakescan.outcomes" not in answer.body
    (line,) = log_lines(caplog)
    assert [image["sha256"] for image in line["images"]] == [hashlib.sha256(image).hexdigest() for image in images]
    assert line["images"][1]["outcome"] == "not_an_image"
    assert gated.metric("fakescan_serve_images_total", key) == 3
    assert gated.metric("fakescan_serve_judge_seconds_count", key) == 1
    left = 0
    while gated.ask("/v1/detect", key=key, content=b"no image", headers={"content-type": "image/png"}).status == 415:
        left += 1
    assert left == 8 - 3
    assert gated.metric('fakescan_serve_refused_total{code="not_an_image"}', key) == left


def test_what_a_replica_says_of_itself_comes_from_the_gate(served: tuple[Gated, str], detector: Detector) -> None:
    gated, key = served
    about = gated.ask("/v1/about", method="GET")
    assert json.loads(about.body)["model"] == detector.model
    assert json.loads(gated.ask("/v1/models", method="GET", key=key).body)["data"][0]["id"] == detector.model
    assert "/v1/detect" in json.loads(gated.ask("/openapi.json", method="GET").body)["paths"]
    again = gated.ask("/v1/about", method="GET", headers={"if-none-match": about.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert gated.ask(f"/v1/models/{detector.model}", method="GET", key=key).status == 200
    assert gated.ask("/v1/models/other", method="GET", key=key).code == "not_found"
