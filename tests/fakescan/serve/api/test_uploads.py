"""Forms that are large, or made to take long."""

import time

import pytest

from fakescan.serve.detector import Detector
from tests.fakescan.serve.api.replica import send

pytestmark = pytest.mark.unit

MB = 2**20
FORM = {"content-type": "multipart/form-data; boundary=B"}
PART = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n%s\r\n'


def test_a_large_form_is_read_as_a_small_one_is(detector: Detector, png: bytes) -> None:
    padded = png + bytes(3 * MB)
    small, large = (
        send(detector, "POST", "/v1/detect", files=[("file", ("a.png", data)), ("file", ("b.png", png))]).json()
        for data in (png, padded)
    )
    assert [result["name"] for result in large["results"]] == ["a.png", "b.png"]
    assert [result["num_bytes"] for result in large["results"]] == [len(padded), len(png)]
    assert large["results"][0]["score"] == small["results"][0]["score"]
    assert large["results"][1]["sha256"] == small["results"][1]["sha256"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PART % (b"\r\n--Bx" * (4 * MB)), "boundary comes too often"),
        (b"\r\n" * (16 * MB), "no file"),
        (b"".join(PART % b"x" for _ in range(100_000)), "boundary comes too often"),
        (b"".join(PART % b"x" for _ in range(17)) + b"--B--\r\n", "more than 16 images"),
        (
            b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * (32 * MB) + b"\r\n--B--\r\n",
            "a part of over 1024 bytes has no file name",
        ),
        (b"--B\r\n" + b"A: b\r\n" * (4 * MB), "Invalid multipart data"),
        (b"--B\r\n" + b"A" * (32 * MB), "Invalid multipart data"),
    ],
    ids=["boundaries", "lines", "parts", "files", "field", "headers", "header"],
)
def test_a_form_that_is_made_to_take_long_is_refused_at_once(detector: Detector, body: bytes, words: str) -> None:
    started = time.process_time()
    response = send(detector, "POST", "/v1/detect", content=body, headers=FORM)
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert words in response.json()["detail"]
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("accept", "query", "is_stream"),
    [
        ("text/event-stream", "", True),
        ("text/event-stream, */*", "", True),
        ("text/event-stream, application/json;q=0.5", "", True),
        ("*/*", "", False),
        ("", "", False),
        ("application/json, text/event-stream", "", False),
        ("application/json, text/event-stream; q=0.9", "", False),
        ("text/event-stream;q=0", "", False),
        ("text/event-stream;q=none", "", False),
        ("text/event-stream", "?stream=false", False),
        ("application/json", "?stream=true", True),
    ],
)
def test_a_stream_comes_where_it_is_wanted(
    detector: Detector, png: bytes, accept: str, query: str, is_stream: bool
) -> None:
    headers = {"content-type": "image/png", "accept": accept}
    response = send(detector, "POST", f"/v1/detect{query}", content=png, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream" if is_stream else "application/json")


@pytest.mark.parametrize(
    ("query", "form", "field"),
    [
        ("?threshold=0.1&threshold=0.9", {}, "threshold"),
        ("?threshold=0.1", {"threshold": "0.1"}, "threshold"),
        ("?explain=none", {"explain": "all"}, "explain"),
        ("?threshold=2", {}, "threshold"),
        ("?colour=red", {}, "colour"),
        ("", {"explain": "some"}, "explain"),
    ],
)
def test_a_wrong_option_is_named(detector: Detector, png: bytes, query: str, form: dict[str, str], field: str) -> None:
    response = send(detector, "POST", f"/v1/detect{query}", files={"file": ("a.png", png)}, data=form)
    assert response.status_code == 422
    assert response.json()["detail"].startswith(f"{field}: ")
    assert response.json()["error"]["param"] == field


def test_an_option_whose_name_is_no_text_is_refused(detector: Detector, png: bytes) -> None:
    part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + png
    option = b'\r\n--B\r\nContent-Disposition: form-data; name="+2AA-"\r\n\r\nx\r\n--B--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=B; charset=utf-7"}
    response = send(detector, "POST", "/v1/detect", content=part + option, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["error"]["param"] is None
