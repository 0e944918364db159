"""What a server says to people beside its verdicts, with the built-in model, which knows no generator."""

import base64
import io
import json
import random

import httpx
import openai
import pytest
from PIL import Image

from fakevlm.reading import NO_FORGERY_FOUND
from tests.serve_process import PAIRS, Served

pytestmark = pytest.mark.cluster

REAL = next(path for path in PAIRS if "city-real" in path.name)
FORGED = next(path for path in PAIRS if "splice" in path.name)


@pytest.fixture(scope="module")
def client(served: Served) -> httpx.Client:
    return served.client()


def test_a_low_score_is_no_forgery_found_wherever_it_is_told(client: httpx.Client) -> None:
    answer = client.post("/v1/detect", files={"file": REAL.read_bytes()}, params={"explain": "all"}).json()
    about = client.get("/v1/about").json()
    assert answer["meaning"] == about["meaning"] == "forgeries"
    assert answer["notice"] == about["notice"]
    assert "knows no generator" in answer["notice"]
    (result,) = answer["results"]
    assert (result["verdict"], result["finding"], result["leans"]) == ("real", "no forgery found", "real")
    assert result["remark"] == NO_FORGERY_FOUND
    assert [remark["kind"] for remark in result["remarks"]] == ["meaning"]
    assert result["how_sure"]["words"].endswith(" It says nothing of generated images.")
    assert about["calibrated"] is True
    assert "forged" in about["score_meaning"]


def test_what_is_found_is_said_plainly(client: httpx.Client) -> None:
    (result,) = client.post("/v1/detect", files={"file": FORGED.read_bytes()}).json()["results"]
    assert (result["finding"], result["remark"], result["remarks"]) == ("fake", None, [])
    rates = [one["base_rate"] for one in result["how_sure"]["at"]]
    assert rates == [0.5, 0.1, 0.01, 0.001]
    shares = [one["probability"] for one in result["how_sure"]["at"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(min(result["score"], 0.99), abs=1e-4), "calibrated on pairs, half of them fake"


def test_a_threshold_moves_the_verdict_and_no_word_of_the_model(client: httpx.Client) -> None:
    files = {"file": FORGED.read_bytes()}
    usual = client.post("/v1/detect", files=files, params={"explain": "all"}).json()["results"][0]
    strict = client.post("/v1/detect", files=files, params={"explain": "all", "threshold": 0.9999}).json()["results"][0]
    assert (usual["verdict"], strict["verdict"]) == ("fake", "real")
    assert strict["explanation"] == usual["explanation"]
    assert strict["explanation"].startswith("This is a fake image")
    assert strict["leans"] == "fake"
    assert [remark["kind"] for remark in strict["remarks"]] == ["meaning", "leaning"]
    assert strict["remark"].startswith(f"{NO_FORGERY_FOUND} The model leans to fake (0.9")
    assert strict["remark"].endswith(", below your threshold of 0.9999.")
    loose = client.post("/v1/detect", files={"file": REAL.read_bytes()}, params={"threshold": 0.0001}).json()
    (result,) = loose["results"]
    assert (result["verdict"], result["leans"]) == ("fake", "real")
    assert result["explanation"].startswith("This is a real image")
    assert "and from your threshold of 0.0001 on an image counts as fake." in result["remark"]


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((300, 300), {"left": 0, "top": 0, "width": 300, "height": 300, "share": 1.0}),
        ((400, 300), {"left": 50, "top": 0, "width": 300, "height": 300, "share": 0.75}),
        ((100, 800), {"left": 0, "top": 350, "width": 100, "height": 100, "share": 0.125}),
    ],
)
def test_a_picture_is_told_which_square_was_seen(
    client: httpx.Client, size: tuple[int, int], seen: dict[str, float]
) -> None:
    data = io.BytesIO()
    Image.new("RGB", size, (random.Random(1).randrange(256), 90, 60)).save(data, "PNG")
    (result,) = client.post("/v1/detect", files={"file": data.getvalue()}).json()["results"]
    found = result["seen"]
    assert found["share"] == pytest.approx(seen["share"], rel=0.01)
    for name in ("left", "top", "width", "height"):
        assert found[name] == pytest.approx(seen[name], abs=2), name
    assert ("The model saw only the middle" in (result["remark"] or "")) == (seen["share"] < 0.5)


def test_what_is_streamed_says_the_same(client: httpx.Client) -> None:
    files = {"file": REAL.read_bytes()}
    whole = client.post("/v1/detect", files=files, params={"explain": "all"}).json()
    text = client.post("/v1/detect", files=files, params={"explain": "all", "stream": "true"}).text
    found = [block.split("\n") for block in text.strip().split("\n\n")]
    events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in found]
    verdict, result, done = events[0][1], events[-2][1], events[-1][1]
    for name in ("finding", "remark", "leans", "seen"):
        assert verdict[name] == result[name] == whole["results"][0][name], name
    assert (done["meaning"], done["notice"]) == (whole["meaning"], whole["notice"])


def test_a_chat_client_that_shows_its_words_alone_shows_no_false_one(served: Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)

    def ask(data: bytes, **settings: object) -> object:
        uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        content = [{"type": "image_url", "image_url": {"url": uri}}]
        messages = [{"role": "user", "content": content}]
        return client.chat.completions.create(model="builtin-small", messages=messages, **settings)

    answer = ask(REAL.read_bytes())
    said = answer.choices[0].message.content
    assert said.startswith(f"{NO_FORGERY_FOUND} In its own words: This is a real image")
    about = answer.model_extra["fakescan"]
    assert (about["finding"], about["meaning"], about["leans"]) == ("no forgery found", "forgeries", "real")
    assert about["remark"] == NO_FORGERY_FOUND
    assert "knows no generator" in about["notice"]
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(REAL.read_bytes(), stream=True) if chunk.choices]
    assert "".join(pieces) == said
    assert ask(FORGED.read_bytes()).choices[0].message.content.startswith("This is a fake image")
