"""What uploads say of their own origin: in answers of each kind, and never at the cost of the replica."""

import asyncio
import base64
import io
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.config import ServeConfig
from fakescan.serve.decoding import origins
from fakescan.serve.decoding.origins import OriginReader
from fakescan.serve.detector import Detector
from fakevlm.provenance import Provenance, TrustLists
from tests.fakescan.serve.api.replica import send
from tests.provenance_files import png_with_chunks

pytestmark = pytest.mark.unit

PARAMETERS = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Model: x"


def png(text: str | None = None) -> bytes:
    file, info = io.BytesIO(), PngInfo()
    if text is not None:
        info.add_text("parameters", text)
    Image.linear_gradient("L").convert("RGB").save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    found = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig(tokens=2)))
    yield found
    found.close()


def results(detector: Detector, *files: bytes, **params: Any) -> list[dict[str, Any]]:
    answer = send(detector, "POST", "/v1/detect", files=[("file", data) for data in files], params=params)
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_answers_say_what_the_file_says_and_the_verdict_is_the_same(detector: Detector) -> None:
    plain, written, none = results(detector, png(), png(PARAMETERS), b"no image")
    assert plain["provenance"] == {
        "origin": "none", "basis": None, "generator": None, "signer": None, "detail": None,
        "words": "says nothing about its origin",
    }  # fmt: skip
    assert (written["provenance"]["origin"], written["provenance"]["basis"]) == ("ai_generated", "text")
    assert written["provenance"]["words"].startswith("AI-generated")
    assert written["provenance"]["detail"]["sources"]
    assert none["error"]["code"] == "not_an_image"
    assert none["provenance"]["origin"] == "none"
    assert [written[name] for name in ("verdict", "score", "logit")] == [
        plain[name] for name in ("verdict", "score", "logit")
    ]


def test_openais_answers_have_it_beside_the_other_fields(detector: Detector) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(png(PARAMETERS)).decode()}"
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}}]}]
    answer = send(detector, "POST", "/v1/chat/completions", json={"model": detector.model, "messages": messages})
    assert answer.json()["fakescan"]["provenance"]["origin"] == "ai_generated"
    about = send(detector, "GET", "/v1/about").json()
    assert about["provenance"] is True
    schemas = send(detector, "GET", "/openapi.json").json()["components"]["schemas"]
    assert {"origin", "basis", "generator", "signer", "detail", "words"} == schemas["FoundOrigin"]["properties"].keys()


def test_a_stream_has_it_from_the_verdict_on(detector: Detector) -> None:
    answer = send(detector, "POST", "/v1/detect", files={"file": png(PARAMETERS)}, params={"stream": "true"})
    event = next(block for block in answer.text.split("\n\n") if block.startswith("event: verdict"))
    assert '"origin": "ai_generated"' in event


def test_a_server_that_does_not_read_it_says_so() -> None:
    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig(tokens=2), provenance=False))
    try:
        (result,) = results(detector, png(PARAMETERS))
        assert result["provenance"] is None
        assert send(detector, "GET", "/v1/about").json()["provenance"] is False
    finally:
        detector.close()


class Deadly(origins._Read):
    """Native code that a file with a manifest ends, or keeps for ever."""

    def __call__(self, data: bytes) -> Provenance:
        if b"deadly" in data:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(data)


def test_a_manifest_that_ends_its_reader_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "_Read", Deadly)
    reader = OriginReader(None, processes=1)
    try:
        found = asyncio.run(reader.read_apart(png_with_chunks((b"caBX", b"deadly")), "key"))
        assert found.origin is None
        assert found.words.startswith("its origin could not be read: its process was killed by signal 9")
        after = asyncio.run(reader.read_apart(png_with_chunks((b"caBX", b"damaged")), "key"))
        assert after.origin == "none", "the next one has a process again"
        assert after.detail is not None
        assert after.detail["c2pa"]["state"] == "broken"
    finally:
        reader.close()


class Slow(origins._Read):
    """Native code that takes long over some files."""

    def __call__(self, data: bytes) -> Provenance:
        while b"slow" in data:
            pass
        return super().__call__(data)


def test_a_manifest_that_takes_long_keeps_no_other_client_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "_Read", Slow)
    slow, damaged = png_with_chunks((b"caBX", b"slow")), png_with_chunks((b"caBX", b"damaged"))
    reader = OriginReader(None, processes=1)

    async def read_all() -> list[origins.FoundOrigin]:
        ended: list[str] = []

        async def one(data: bytes, key: str) -> origins.FoundOrigin:
            found = await reader.read_apart(data, key)
            ended.append(key)
            return found

        hostile = [asyncio.create_task(one(slow, "hostile")) for _ in range(4)]
        await asyncio.sleep(0)
        usual = await one(damaged, "usual")
        assert ended.count("hostile") <= 1, "the file that was being read already"
        return [usual, *await asyncio.gather(*hostile)]

    try:
        usual, *hostile = asyncio.run(read_all())
        assert usual.detail is not None
        assert usual.detail["c2pa"]["state"] == "broken"
        for found in hostile:
            assert found.origin is None
            assert found.words.startswith("its origin could not be read: "), "of its CPU time, or of the clock's"
        assert reader.read_light(damaged) is None
        light = reader.read_light(png(PARAMETERS))
        assert light is not None, "nothing in it needs a process"
        assert light == asyncio.run(reader.read_apart(png(PARAMETERS), "usual"))
    finally:
        reader.close()


def test_a_list_that_is_none_is_refused_at_the_start(tmp_path: Any) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(Exception, match="not a PEM file with certificates"):
        Detector(ServeConfig(no_auth=True, engine=SimulatedConfig(), trust_list=str(tmp_path / "x.pem")))
    with pytest.raises(ValueError, match="trust_list: without provenance"):
        ServeConfig(no_auth=True, trust_list="x.pem", provenance=False)
    assert TrustLists.newest(tmp_path) is None
