"""The page at `/` in a real headless Chromium, against a real server. tests/fakescan/serve/page has the rest of it."""

import hashlib
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from fakescan.serve.gate.own.answers import page_files
from tests.page_browser import DETECT, card, choose, expect_word, of_kind, opened_page
from tests.page_server import PageServer
from tests.serve_process import Served

pytestmark = pytest.mark.cluster


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The page, loaded from the real server."""
    with opened_page(browser, served.url) as page:
        yield page


@pytest.fixture
def low(served: Served) -> str:
    """What the page calls a low score of the built-in model."""
    about = httpx.get(f"{served.url}/v1/about").json()
    return "No forgery found" if about.get("meaning") == "forgeries" else "Real"


def word_of(path: Path, low: str) -> str:
    return low if path.stem.endswith("-real") else "Fake"


def test_the_page_says_what_it_is_and_what_the_model_is_not(page: Page, served: Served) -> None:
    about = page.request.get(f"{served.url}/v1/about").json()
    expect(page.get_by_role("heading", level=1)).to_have_text("Is this image real or fake?")
    expect(page.get_by_role("banner")).to_contain_text(about["model"])
    expect(page.get_by_role("note")).to_have_text(re.compile(rf"^{re.escape(about['notice'])}\.?$", re.IGNORECASE))
    expect(page.get_by_role("main")).to_contain_text("not kept")
    expect(page.get_by_role("main")).to_contain_text("64 MiB")


def test_an_upload_shows_verdict_score_threshold_and_explanation(page: Page, served: Served) -> None:
    path = of_kind(served.pairs, "fake")
    page.evaluate("""() => {
        window.texts = [];
        new MutationObserver(() => {
            const text = document.querySelector(".card .explanation")?.textContent;
            if (text && text !== window.texts.at(-1)) window.texts.push(text);
        }).observe(document.getElementById("gallery"), { subtree: true, childList: true, characterData: true });
    }""")
    choose(page, path)
    expect_word(page, path.name, "Fake")
    meter = card(page, path.name).get_by_role("meter")
    threshold = page.request.get(f"{served.url}/v1/about").json()["threshold"]
    expect(meter).to_have_attribute("aria-valuetext", re.compile(rf"the threshold is {threshold:.2f}"))
    expect(meter).to_contain_text(f"threshold {threshold:.2f}")
    track, tick = meter.locator(".track").bounding_box(), meter.locator(".tick").bounding_box()
    assert track is not None
    assert tick is not None
    assert (tick["x"] + tick["width"] / 2 - track["x"]) / track["width"] == pytest.approx(threshold, abs=0.01)

    said = card(page, path.name).locator(".explanation")
    expect(said).to_have_text(re.compile(r"^This is a fake image\. .+[.!?]$"))
    texts = page.evaluate("window.texts")
    assert len(texts) > 3, "the explanation came in one piece"
    assert all(after.startswith(before) for before, after in pairwise(texts))
    # A screen reader hears the whole answer once, and not each word.
    status = page.locator("#status")
    expect(status).to_have_text(re.compile(rf"^{re.escape(path.name)}: Fake, score .+\. This is a fake image\."))
    assert said.locator("xpath=ancestor::*[@aria-live]").count() == 0


def test_several_images_are_judged_filtered_sorted_and_exported(page: Page, served: Served, low: str) -> None:
    paths = served.pairs[:6]
    real = sum(path.stem.endswith("-real") for path in paths)
    fake = len(paths) - real
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if DETECT.search(request.url) else None)
    choose(page, *paths)
    for path in paths:
        expect_word(page, path.name, word_of(path, low))
    assert len(sent) == len(paths)
    cards = page.get_by_role("list", name="Images").get_by_role("listitem")
    names = cards.get_by_role("heading", level=3)
    expect(names).to_have_text([path.name for path in paths])
    expect(page.locator("#summary")).to_have_text(f"{len(paths)} images: {fake} fake, {real} {low.lower()}")
    page.get_by_role("radio", name=f"Fake {fake}").check()
    expect(cards).to_have_count(fake)
    page.get_by_role("radio", name="Errors 0").check()
    expect(cards).to_have_count(0)
    expect(page.get_by_text("No image here has this outcome.")).to_be_visible()
    page.get_by_role("radio", name=f"All {len(paths)}").check()
    page.get_by_role("combobox", name="Sort").select_option(label="highest score first")
    page.get_by_role("button", name="Export…").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Data (JSON)").click()
    saved = json.loads(download.value.path().read_text())
    assert {(row["name"], row["sha256"]) for row in saved["results"]} == {
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths
    }
    assert all(not row["error_code"] and row["request_id"] and row["explanation"] for row in saved["results"])
    best_first = sorted(saved["results"], key=lambda row: row["score"], reverse=True)
    expect(names).to_have_text([row["name"] for row in best_first])


def test_the_scripted_server_answers_as_the_real_one(served: Served) -> None:
    """Else the tests of the page would prove nothing."""
    scripted = PageServer(meaning="forgeries")
    real = httpx.get(f"{served.url}/v1/about").json()
    assert set(real) <= set(scripted.about())
    files = page_files()
    image = of_kind(served.pairs, "fake")
    with served.client() as client:
        stream = client.post("/v1/detect?stream=true", files={"file": (image.name, image.read_bytes())}).text
        pieces = {path: client.get(path) for path in files}
    events = dict(re.findall(r"event: (\w+)\ndata: (.+)", stream))
    assert set(json.loads(events["result"])) <= set(scripted.result(image.name, image.read_bytes()))
    assert {"verdict", "result", "done"} <= set(events)
    for path, piece in pieces.items():
        assert (piece.status_code, piece.content) == (200, files[path].body), path
        for name, value in files[path].headers:
            assert piece.headers[name.decode()] == value.decode(), (path, name)
