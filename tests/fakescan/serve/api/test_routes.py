"""The API of a real server: what it answers to good requests and to bad ones."""

import json
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from fakevlm.verdict import parse_answer
from tests.conftest import ScannedPairs
from tests.scan_process import read_rows
from tests.serve_process import PAIRS, Served

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def client(served: Served) -> httpx.Client:
    return served.client()


def events(text: str) -> list[tuple[str, dict]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_the_same_images_score_online_as_offline(client: httpx.Client, scanned_pairs: ScannedPairs) -> None:
    rows = {Path(row["uri"]).name: row for row in read_rows(scanned_pairs.run)}
    files = [("file", (path.name, path.read_bytes())) for path in PAIRS]
    results = client.post("/v1/detect", files=files).raise_for_status().json()["results"]
    assert [result["name"] for result in results] == [path.name for path in PAIRS]
    for result in results:
        row = rows[result["name"]]
        assert result["logit"] == pytest.approx(row["logit"], abs=1e-3)
        assert result["score"] == pytest.approx(row["score"], abs=1e-4)
        for same in ("verdict", "explanation", "width", "height", "format", "sha256", "num_bytes"):
            assert result[same] == row[same], same
        assert row["error_code"] is None


def test_one_image_as_the_body_itself(client: httpx.Client) -> None:
    data = PAIRS[0].read_bytes()
    for media_type in ("image/jpeg", "application/octet-stream"):
        answer = client.post("/v1/detect", content=data, headers={"content-type": media_type}).raise_for_status()
        (result,) = answer.json()["results"]
        assert (result["name"], result["num_bytes"], result["format"]) == (None, len(data), "JPEG")
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
        assert not [name for name in answer.headers if name.startswith("x-fakescan")]


@pytest.mark.parametrize("explain", ["fakes", "all", "none"])
def test_explanations_come_as_asked(client: httpx.Client, explain: str) -> None:
    files = [("file", (path.name, path.read_bytes())) for path in PAIRS]
    results = client.post("/v1/detect", files=files, params={"explain": explain}).json()["results"]
    assert {result["verdict"] for result in results} == {"real", "fake"}
    for result in results:
        wanted = explain == "all" or (explain == "fakes" and result["verdict"] == "fake")
        assert (result["explanation"] is not None) == wanted
        if wanted:
            assert parse_answer(result["explanation"]) == result["verdict"]


def test_a_threshold_moves_the_verdict_and_not_the_score(client: httpx.Client) -> None:
    file = {"file": PAIRS[0].read_bytes()}
    plain = client.post("/v1/detect", files=file).json()
    score = plain["results"][0]["score"]
    for threshold, verdict in ((min(score + 0.01, 0.9999), "real"), (score - 0.01, "fake")):
        answer = client.post("/v1/detect", files=file, data={"threshold": str(threshold)}).json()
        assert answer["threshold"] == threshold
        assert answer["results"][0]["verdict"] == verdict
        assert answer["results"][0]["score"] == pytest.approx(score, abs=1e-4)


def test_a_stream_has_the_score_first_and_the_same_whole_at_the_end(client: httpx.Client) -> None:
    files = [("file", (path.name, path.read_bytes())) for path in PAIRS[:3]] + [("file", ("bad.jpg", b"no image"))]
    whole = client.post("/v1/detect", files=files, params={"explain": "all"}).json()["results"]
    with client.stream("POST", "/v1/detect", files=files, params={"explain": "all", "stream": "true"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = events("".join(answer.iter_text()))
    assert found[-1][0] == "done"
    for index in range(3):
        mine = [(name, data) for name, data in found if data.get("index") == index]
        assert mine[0][0] == "verdict"
        assert mine[0][1]["explanation"] is None
        pieces = [data["text"] for name, data in mine if name == "explanation"]
        assert len(pieces) > 3, "it comes in pieces"
        assert "".join(pieces) == mine[-1][1]["explanation"] == whole[index]["explanation"]
        assert mine[-1][1]["score"] == pytest.approx(whole[index]["score"], abs=1e-4)
    (bad,) = [(name, data) for name, data in found if data.get("index") == 3]
    assert (bad[0], bad[1]["error"]["code"]) == ("result", "not_an_image")


def test_requests_at_once_are_judged_together(client: httpx.Client) -> None:
    def ask(path: Path) -> tuple[str, str]:
        result = client.post("/v1/detect", files={"file": path.read_bytes()}).raise_for_status().json()["results"][0]
        return path.name, result["verdict"]

    with ThreadPoolExecutor(16) as pool:
        found = dict(pool.map(ask, PAIRS * 3))
    assert {name: verdict for name, verdict in found.items() if (verdict == "real") != ("-real" in name)} == {}


@pytest.mark.parametrize(
    ("request_", "status", "code", "words"),
    [
        ({"content": b"text", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media", "text/plain"),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 422, "empty", "no bytes"),
        ({"content": b"hello", "headers": {"content-type": "image/png"}}, 415, "not_an_image", "68 65"),
        ({"content": b"%PDF-1.4", "headers": {"content-type": "image/png"}}, 415, "unsupported_format", "PDF"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "invalid", "multipart"),
        ({"files": {"file": (None, "text")}}, 422, "invalid", "no file"),
        ({"files": {"file": b"x"}, "params": {"explain": "maybe"}}, 422, "invalid", "explain"),
        ({"files": {"file": b"x"}, "params": {"threshold": "2"}}, 422, "invalid", "threshold"),
        ({"files": {"file": b"x"}, "params": {"colour": "red"}}, 422, "invalid", "colour"),
        ({"files": [("file", b"x")] * 17}, 422, "invalid", "16"),
    ],
)
def test_bad_requests_are_refused_in_words(
    client: httpx.Client, request_: dict, status: int, code: str, words: str
) -> None:
    answer = client.post("/v1/detect", **request_)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert words in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(client: httpx.Client) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    answer = client.post("/v1/detect", content=bomb, headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_pixels")


def test_other_paths_and_methods_are_problems_too(client: httpx.Client) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/v1/detect", 405), ("GET", "/page/../api.py", 404)):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_the_openai_client(served: Served) -> None:
    import base64

    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).id == model.id
    forged = next(path for path in PAIRS if "splice" in path.name)
    uri = f"data:image/webp;base64,{base64.b64encode(forged.read_bytes()).decode()}"
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Is this real?"},
                {"type": "image_url", "image_url": {"url": uri}},
            ],
        }
    ]
    answer = client.chat.completions.create(model=model.id, messages=messages)
    said = answer.choices[0].message.content
    assert said.startswith("This is a fake image")
    assert answer.model_extra["fakescan"]["verdict"] == "fake"
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(model=model.id, messages=messages, stream=True)
    ]
    assert len(pieces) > 3
    assert "".join(pieces) == said

    with pytest.raises(openai.NotFoundError, match="gpt-4o"):
        client.chat.completions.create(model="gpt-4o", messages=messages)
    messages[0]["content"][1]["image_url"]["url"] = "http://127.0.0.1:9/secret.png"
    with pytest.raises(openai.UnprocessableEntityError, match="not fetched"):
        client.chat.completions.create(model=model.id, messages=messages)


def test_facts_about_the_server(client: httpx.Client) -> None:
    about = client.get("/v1/about").json()
    assert (about["auth"], about["model"], about["scans"]) == (False, "builtin-small", False)
    assert "no detector of generated images" in about["notice"]
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/detect", "/v1/chat/completions", "/v1/models"} <= paths.keys()


def test_metrics_count_images_by_verdict(client: httpx.Client) -> None:
    def count(line: str) -> float:
        text = client.get("/metrics").text
        return sum(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line))

    before = (
        count('fakescan_serve_images_total{outcome="real"}'),
        count('fakescan_serve_images_total{outcome="not_an_image"}'),
    )
    real = next(path for path in PAIRS if "-real" in path.name)
    client.post("/v1/detect", files=[("file", real.read_bytes()), ("file", b"no image")]).raise_for_status()
    deadline = time.monotonic() + 10  # a request is counted after its answer has been sent
    fresh = (0.0, 0.0)
    while fresh != (1, 1) and time.monotonic() < deadline:
        after = (
            count('fakescan_serve_images_total{outcome="real"}'),
            count('fakescan_serve_images_total{outcome="not_an_image"}'),
        )
        fresh = (after[0] - before[0], after[1] - before[1])
    assert fresh == (1, 1)
    assert count('fakescan_serve_requests_total{route="/v1/detect",status="200"}') >= 1


def test_a_client_that_leaves_frees_its_place(served: Served, client: httpx.Client) -> None:
    """Streams that are cut off after the first event, more of them than the engine has places."""

    def leave(path: Path) -> None:
        params = {"explain": "all", "stream": "true"}
        with client.stream("POST", "/v1/detect", files={"file": path.read_bytes()}, params=params) as answer:
            next(answer.iter_text())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(leave, PAIRS * 10))
    done = threading.Event()
    for _ in range(100):
        text = client.get("/metrics").text
        if "fakescan_serve_ongoing_requests 0.0" in text and "fakescan_serve_buffered_bytes 0.0" in text:
            break
        done.wait(0.05)
    assert "fakescan_serve_ongoing_requests 0.0" in text
    assert "fakescan_serve_buffered_bytes 0.0" in text
    client.post("/v1/detect", files={"file": PAIRS[0].read_bytes()}).raise_for_status()
